"""`tollspan budget raise` where a server holds the money: it takes the key of an admin."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.contract.ledger.making import account
from tests.integration.cli.conftest import Run
from tests.serving import RunningServer, running_server
from tollspan.budget import Settlement
from tollspan.cli import _checks_otel
from tollspan.exporter import HttpAuthority, SettlingBooks
from tollspan.ledger import LEDGER_FILE, SQLiteLedger, name_of
from tollspan.usage import Adjustment, Charge, new_call_id

RULES = "version: 1\nbudgets: [{id: org, limit: 10 USD}]\n"
USD = 1_000_000_000
ORG = account("org", limit=10 * USD)


@pytest.fixture
def server(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    """A server that holds the money, of which 9 USD are spent; the key is a host's."""
    (home / "tollspan.yaml").write_text(RULES)
    monkeypatch.setattr(_checks_otel, "auto_launch_problem", lambda: None)
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as made:
        monkeypatch.setenv("TOLLSPAN_AUTHORITY", made.url)
        monkeypatch.setenv("TOLLSPAN_API_KEY", made.make_key("acme", "ingest"))
        with closing(HttpAuthority(made.url, key=made.key, timeout_seconds=10)) as authority:
            spent = Charge(budget_id="org", posted=9 * USD)
            authority.settle([Settlement(call_id="c", lease_id=None, charges=(spent,))])
        yield made


def posted(server: RunningServer) -> int:
    with closing(HttpAuthority(server.url, key=server.key, timeout_seconds=10)) as authority:
        return authority.balances([ORG])[0].posted


@pytest.mark.parametrize(
    "command",
    [("raise", "org", "--by", "5 USD"), ("set", "org", "--left", "2 USD"), ("reset", "org")],
)
def test_a_hosts_key_changes_nothing_and_is_told_what_would(
    server: RunningServer,
    home: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
) -> None:
    adjust = ("budget", *command, "--reason", "x")
    code, said, problem = run(*adjust)
    assert (code, said) == (1, "")
    assert "may ingest, but not admin" in problem
    assert "tollspan keys create --scopes ingest,admin" in problem
    assert posted(server) == 9 * USD
    assert not (home / LEDGER_FILE).exists()
    monkeypatch.setenv("TOLLSPAN_API_KEY", server.make_key("acme", "admin"))
    assert run(*adjust)[0] == 1
    monkeypatch.setenv("TOLLSPAN_API_KEY", server.make_key("acme", "ingest", "admin"))
    assert run(*adjust)[0] == 0
    assert posted(server) < 9 * USD


def test_a_hosts_key_may_leave_less(server: RunningServer, run: Run) -> None:
    code, said, _ = run("budget", "set", "org", "--left", "0.5 USD", "--reason", "x")
    assert (code, said) == (0, "org (lifetime): 0.5 USD left\n")


def test_a_posting_that_was_refused_is_shown_until_an_admins_key_has_made_it(
    server: RunningServer, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def doctor() -> tuple[str, str]:
        found = {one["id"]: one for one in json.loads(run("doctor", "--json")[1])["checks"]}
        check = found["authority.postings"]
        return check["status"], check["text"]

    assert doctor()[0] == "ok"
    ledger = SQLiteLedger(home)
    now = time.time_ns()
    ledger.adjust(
        Adjustment(
            id=new_call_id(now), at_unix_ns=now, action="raise", author="ann@host", reason="x",
            charges=(Charge(budget_id="org", posted=-4 * USD),),
        )
    )  # fmt: skip
    with closing(
        HttpAuthority(server.url, key=server.make_key("acme", "ingest"), timeout_seconds=10)
    ) as authority:
        SettlingBooks(ledger, authority, name=name_of(server.url)).settle()
    ledger.close()
    status, text = doctor()
    assert status == "warning"
    assert "refused 1 posting" in text
    code, _, problem = run("authority", "fill")
    assert code == 1
    assert "1 postings of operators" in problem
    assert posted(server) == 9 * USD
    monkeypatch.setenv("TOLLSPAN_API_KEY", server.make_key("acme", "ingest", "admin"))
    assert run("authority", "fill")[0] == 0
    assert posted(server) == 5 * USD
    assert doctor()[0] == "ok"
