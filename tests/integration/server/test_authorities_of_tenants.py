"""Tenants' money is apart wherever it is kept, and whatever one of them says."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.authority.making import Holder, sums
from tests.contract.ledger.making import account
from tests.serving import running_server
from tollspan.budget import Lease, LeaseLostError
from tollspan.exporter import HttpAuthority
from tollspan.ledger import TenantAuthorities
from tollspan.usage import LedgerError

BUDGET = account("org", limit=1_000)


def test_one_tenants_lies_shut_and_spend_nothing_of_anothers(
    authorities: TenantAuthorities,
) -> None:
    names = ("acme", "x" * 64, "x" * 63 + "y")
    for name in names:
        authorities.of(name).open_epoch()
    holders = [Holder(authorities.of(name)) for name in names]
    assert [one.has(BUDGET, 100) for one in holders] == [100] * 3
    with pytest.raises(LeaseLostError):
        authorities.of("acme").grant(Lease(holder="liar", heard=1_000_000), [])
    assert authorities.of("acme").epoch() is None
    assert all(authorities.of(name).epoch() is not None for name in names[1:])
    holders[1].spends(BUDGET, 40)
    assert [sums(authorities.of(name), BUDGET) for name in names] == [
        (0, 100, 0),
        (40, 60, 0),
        (0, 100, 0),
    ]


@pytest.mark.parametrize("amount", ["-1", "NaN", str(1 << 63), "1.5", "", "01", 7])
def test_an_amount_that_is_none_is_refused_with_its_place(tmp_path: Path, amount: object) -> None:
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server:
        asked = {"account": {"budget_id": "org", "limit": "10"}, "need": amount, "wish": "1"}
        answer = server.ask(
            "POST", "/v1/leases/grant", body={"lease": {"holder": "h"}, "wants": [asked]}
        )
        assert (answer.status, answer.problem) == (400, "invalid")
        assert "need" in answer.json["error"]["message"]


def test_only_an_administrator_opens_and_resolves(tmp_path: Path) -> None:
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server:
        key = server.make_key("acme", "ingest")
        with closing(HttpAuthority(server.url, key=key, timeout_seconds=10)) as authority:
            assert authority.epoch() is not None
            with pytest.raises(LedgerError, match="admin"):
                authority.open_epoch()
            with pytest.raises(LedgerError, match="admin"):
                authority.resolve("h/1", BUDGET, spent=0)


def test_a_server_on_this_host_tells_this_hosts_time(tmp_path: Path) -> None:
    with (
        running_server(f"sqlite:{tmp_path / 'server.db'}") as server,
        closing(HttpAuthority(server.url, key=server.key, timeout_seconds=10)) as authority,
    ):
        assert authority.inspect().ahead_seconds == 0
