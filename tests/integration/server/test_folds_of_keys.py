"""An account goes when a folder would fold it, whatever a key's holder asks to be folded."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.contract.authority.making import settlement, sums
from tests.serving import RunningServer, running_server
from tollspan.budget import FOLDED, Account, Folder, FoldOrder, FoldRow, LeaseSettings
from tollspan.exporter import HttpAuthority
from tollspan.ledger import TenantAuthorities
from tollspan.usage import LedgerError

DAY_NS = 86_400_000_000_000
_names = itertools.count(1)


class Clock:
    """The authorities' time, which a test puts forward."""

    ahead_ns = 0

    def now(self) -> int:
        return time.time_ns() + self.ahead_ns


@pytest.fixture(scope="module")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Iterator[RunningServer]:
    home: Path = tmp_path_factory.mktemp("server")
    authorities = TenantAuthorities(f"sqlite:{home / 'money.db'}", LeaseSettings(), clock=clock.now)
    with running_server(f"sqlite:{home / 'server.db'}", authorities=authorities) as made:
        yield made


@pytest.fixture
def host(server: RunningServer, clock: Clock) -> Iterator[HttpAuthority]:
    clock.ahead_ns = 0
    key = server.make_key(f"tenant-{next(_names)}", "ingest")
    with closing(HttpAuthority(server.url, key=key, timeout_seconds=10)) as made:
        yield made


def account(period: str, scope: str = '{"customer":"acme"}') -> Account:
    return Account(budget_id="customers", scope=scope, period=period, limit=100)


def order_of(host: HttpAuthority, *, into: Account | None, mark: int | None = None) -> FoldOrder:
    """Ask for all that there is to go, or to be marked."""
    look = host.look(100)
    rows = tuple(look.rows)
    assert rows
    return FoldOrder(
        was=look.state,
        state='{"hours":99999,"days":99999,"is_done":true}',
        cursor="",
        folds=() if mark is not None else tuple((row, into) for row in rows),
        marks=() if mark is None else tuple((row, mark) for row in rows),
    )


@pytest.mark.parametrize("period", ["", "this month", "idle:60s/1795943977546101", "x"])
@pytest.mark.parametrize("into", [None, account("2020-01", FOLDED)], ids=["nothing", "another"])
def test_no_account_goes_whose_period_runs(
    host: HttpAuthority, period: str, into: Account | None
) -> None:
    where = account(datetime.now(UTC).strftime("%Y-%m") if period == "this month" else period)
    host.settle([settlement(None, (where, 90, 0))])
    for _ in range(3):
        host.fold(order_of(host, into=into, mark=1))
        host.fold(order_of(host, into=into))
    assert sums(host, where) == (90, 0, 0)
    if into is not None:
        assert sums(host, into) == (0, 0, 0)


def test_the_sum_goes_where_a_folder_puts_it_and_counts_once(
    host: HttpAuthority, clock: Clock
) -> None:
    where, elsewhere = account("2020-01"), account("2020-01", "elsewhere")
    host.settle([settlement(None, (where, 90, 0))])
    for _ in range(39):
        order = order_of(host, into=elsewhere)
        twice = [
            (replace(row, account=replace(row.account, limit=limit)), to)
            for row, to in order.folds
            for limit in (0, 7)
        ]
        assert host.fold(replace(order, folds=tuple(twice)))
        if sums(host, where) == (0, 0, 0):
            break
        clock.ahead_ns += DAY_NS
    assert clock.ahead_ns > 35 * DAY_NS
    assert sums(host, where) == (0, 0, 0)
    assert sums(host, elsewhere) == (0, 0, 0)
    assert sums(host, account("2020-01", FOLDED)) == (90, 0, 0)


def test_an_honest_folder_of_a_host_folds(host: HttpAuthority, clock: Clock) -> None:
    where = account("2020-01")
    host.settle([settlement(None, (where, 90, 0))])
    seconds = itertools.count(0, 10_000)
    folder = Folder(host, clock=lambda: next(seconds), chance=lambda: 0)
    gone = 0
    for _ in range(39):
        gone += folder.step() + folder.step()
        clock.ahead_ns += DAY_NS
    assert gone == 1
    assert sums(host, account("2020-01", FOLDED)) == (90, 0, 0)


def test_a_state_that_is_none_is_no_state(host: HttpAuthority) -> None:
    host.settle([settlement(None, (account("2020-01"), 90, 0))])
    row = FoldRow(account=account("2020-01"), posted=90, mark=0)
    with pytest.raises(LedgerError):
        host.fold(FoldOrder(was="lost", state="?", cursor="", folds=((row, None),)))
    assert host.fold(order_of(host, into=None))
    assert "?" not in host.look(1).state
