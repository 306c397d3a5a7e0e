"""Who folds does a small piece at a time, whoever else is at it, and goes by no clock alone."""

from __future__ import annotations

import pytest

from tests.contract.ledger.making import charge, event, new_id
from tollspan.budget import Account, Folder, FoldLook, FoldOrder, MemoryLedger
from tollspan.budget.folding import fold_target
from tollspan.usage import BLOCK_PERIOD, LedgerCorruptError

NS = 1_000_000_000
HOUR_NS = 3_600 * NS
DAY_NS = 24 * HOUR_NS
NOON_UNIX_NS = 1_704_110_400 * NS  # 2024-01-01T12:00:00Z
OLD = Account(budget_id="b", scope='{"user":"u"}', period="2023-01", limit=0)


class World:
    """A ledger of the memory, its clock, and the clock of whoever folds."""

    def __init__(self) -> None:
        self.unix_ns = NOON_UNIX_NS
        self.seconds = 0.0
        self.looks = 0
        self.orders = 0
        self.piece_seconds = 0.0
        self.ledger = MemoryLedger(unix_clock=lambda: self.unix_ns)

    def look(self, most: int) -> FoldLook:
        self.looks += 1
        return self.ledger.look(most)

    def fold(self, order: FoldOrder) -> bool:
        self.orders += 1
        self.go_on(self.piece_seconds)
        return self.ledger.fold(order)

    def folder(self, chance: float = 0.0) -> Folder:
        return Folder(self, clock=lambda: self.seconds, chance=lambda: chance)

    def fill(self, accounts: int) -> None:
        for number in range(accounts):
            one = Account(budget_id="b", scope=f"{number}", period="2023-01", limit=0)
            self.ledger.post(event(new_id(), charge(one, posted=1)), None)

    def go_on(self, seconds: float) -> None:
        self.seconds += seconds
        self.unix_ns += int(seconds * NS)


def test_a_run_is_done_in_pieces_half_a_second_apart() -> None:
    world = World()
    world.fill(1_000)
    folder = world.folder()
    for _ in range(50):  # five seconds
        folder.step()
        world.go_on(0.1)
    assert world.orders == 5
    world.go_on(1_000)
    folder.step()
    assert world.orders == 5


def test_a_run_begins_once_an_hour_and_not_for_all_at_once() -> None:
    world = World()
    world.fill(1)
    early, late = world.folder(0.0), world.folder(1.0)
    world.go_on(2)
    early.step()
    late.step()
    assert world.orders == 1
    world.go_on(1)
    early.step()
    looks = world.looks
    world.go_on(3_600 - 4)
    early.step()
    late.step()
    assert world.looks == looks  # nobody has asked again
    world.go_on(2)
    late.step()
    assert world.orders == 1
    early.step()
    assert world.orders == 2
    world.go_on(600)
    late.step()
    assert (world.orders, world.looks) == (2, looks + 3)


def test_two_that_fold_do_not_hurry_each_other() -> None:
    world = World()
    world.fill(2_000)
    folders = [world.folder() for _ in range(5)]
    for _ in range(50):
        for one in folders:
            one.step()
        world.go_on(0.1)
    assert world.orders <= 11


@pytest.mark.parametrize(
    ("hours", "pieces"),
    [pytest.param(5, 1, id="in time"), pytest.param(6, 3, id="behind")],
)
def test_a_run_that_is_behind_is_done_in_more_pieces_for_a_bounded_time(
    hours: int, pieces: int
) -> None:
    world = World()
    world.piece_seconds = 0.008
    world.fill(2_000)
    folder = world.folder()
    folder.step()
    assert world.orders == 1
    world.go_on(hours * 3_600)
    folder.step()
    assert world.orders == 1 + pieces


def test_a_run_that_is_behind_ends_where_there_are_no_more_accounts() -> None:
    world = World()
    world.fill(1_000)
    folder = world.folder()
    folder.step()
    world.go_on(6 * 3_600)
    folder.step()
    assert world.orders == 5
    folder.step()
    assert world.orders == 5


def test_a_clock_that_is_years_ahead_for_some_hours_folds_nothing() -> None:
    world = World()
    now = Account(budget_id="b", scope='{"user":"u"}', period="2024-01", limit=0)
    world.ledger.post(event(new_id(), charge(now, posted=5)), None)
    folder = world.folder()
    world.go_on(3_600)
    world.unix_ns += 3_650 * DAY_NS
    for _ in range(48):
        folder.step()
        world.go_on(3_600)
    world.unix_ns -= 3_650 * DAY_NS
    for _ in range(10 * 24):
        folder.step()
        world.go_on(3_600)
    assert world.ledger.balance(now).posted == 5


def test_a_clock_that_goes_to_and_fro_within_a_day_folds_nothing() -> None:
    world = World()
    world.ledger.post(event(new_id(), charge(OLD, posted=5)), None)
    folder = world.folder()
    for number in range(200):
        world.seconds += 7_200
        world.unix_ns += HOUR_NS if number % 2 else -HOUR_NS
        folder.step()
    assert world.orders > 100
    assert world.ledger.balance(OLD).posted == 5


def test_a_state_that_is_none_is_said_and_asked_for_no_more_often_than_others() -> None:
    world = World()
    world.ledger.fold(FoldOrder(was="", state="nonsense", cursor=""))
    folder = world.folder()
    with pytest.raises(LedgerCorruptError, match="no state"):
        folder.step()
    assert folder.step() == 0
    assert world.looks == 1


@pytest.mark.parametrize(
    ("period", "days", "into"),
    [
        ("2023-12", 30, None),
        ("2023-12", 40, "2023-12"),
        ("", 4_000, None),
        ("2023-12-31T23", 1, "2023-12 hours"),
        ("0af7651916cd43dd8448eb211c80319c", 34, None),
        ("0af7651916cd43dd8448eb211c80319c", 36, "traces"),
        ("idle:60s/1704000000000000", 34, None),
        ("idle:60s/1704000000000000", 36, "2023-12 idle"),
        ("idle:8640000s/1704000000000000", 110, None),  # 100 days, and a tenth
        ("idle:8640000s/1704000000000000", 111, "2023-12 idle"),
        (BLOCK_PERIOD, 399, None),
        (BLOCK_PERIOD, 401, "blocks"),
    ],
)
def test_an_account_is_known_to_be_folded_only_when_it_can_be(
    period: str, days: int, into: str | None
) -> None:
    account = Account(budget_id="b", scope='{"user":"u"}', period=period, limit=7)
    found = fold_target(account, NOON_UNIX_NS, NOON_UNIX_NS + days * DAY_NS)
    assert (found.period if found else None) == into
