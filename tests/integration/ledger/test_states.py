"""What metric readers see of a ledger: the accounts in force, and the events that wait."""

from __future__ import annotations

import tempfile
import time
from datetime import date
from pathlib import Path

import msgspec
import pytest

from tests.contract.ledger.making import NOON_UNIX_NS, account, hold, settled
from tests.e2e.disks import full_disk
from tollspan.budget import Account, BudgetGate, MemoryLedger, Window, parse_rules, period, periods
from tollspan.instrumentation import BudgetState
from tollspan.launch._states import LedgerStates
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, Waiting, rescued_files
from tollspan.pricing import PriceBook
from tollspan.usage import UsageEvent, encode_event

RULES = """
version: 1
budgets:
  - {id: all, limit: 2 USD}
  - {id: day, limit: 1 USD, window: day}
"""
USD = 1_000_000_000


@pytest.fixture(autouse=True)
def spare_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the last resort for events a temp folder of its own."""
    (tmp_path / "spare").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "spare"))


@pytest.fixture
def ledger(tmp_path: Path) -> SQLiteLedger:
    """Keep books in a home of their own."""
    return SQLiteLedger(tmp_path / "home")


def states(ledger: SQLiteLedger, *dimensions: str, rules: str = RULES) -> LedgerStates:
    """Read a ledger by the rules above, or by others."""
    gate = BudgetGate(parse_rules(rules), PriceBook.empty(), ledger)
    return LedgerStates(ledger, gate, dimensions=frozenset(dimensions))


def today() -> str:
    """Return the key of the day in force."""

    return period(Window(every="day"), time.time_ns())[0]


def of_the_day(*, spent: float = 0, held: float = 0) -> BudgetState:
    """Return how the budget of the day stands, which ends at midnight."""
    return BudgetState(
        budget_id="day",
        unit="USD",
        limit=1,
        spent=spent,
        held=held,
        period_seconds=86_400,
        ends_at_unix_ns=period(Window(every="day"), time.time_ns())[1],
    )


def an_event(started_at_unix_ns: int = NOON_UNIX_NS) -> UsageEvent:
    """Make the event of a new call."""
    event = settled(hold((account("all", limit=2 * USD), 10)), 7)
    call = msgspec.structs.replace(event.call, started_at_unix_ns=started_at_unix_ns)
    return msgspec.structs.replace(event, call=call)


def test_without_a_ledger_there_is_nothing_to_see(ledger: SQLiteLedger) -> None:
    assert states(ledger).budgets() == []


def test_a_budget_of_which_nothing_was_spent_has_its_limit(ledger: SQLiteLedger) -> None:
    ledger.open()
    assert states(ledger).budgets() == [
        BudgetState(budget_id="all", unit="USD", limit=2, spent=0, held=0),
        of_the_day(),
    ]


def test_the_window_in_force_is_told_and_no_other(ledger: SQLiteLedger) -> None:
    of_all, of_today = account("all", limit=2 * USD), account("day", limit=USD, period=today())
    of_old = account("day", limit=USD, period="2020-01-01")
    for accounts in ((of_all, of_old), (of_all, of_today)):
        legs = [(one, USD // 4) for one in accounts]
        asked = hold(*legs)
        assert ledger.hold(asked) is None
        ledger.post(settled(asked, USD // 8), asked)
    assert ledger.hold(hold((of_today, USD // 2))) is None
    assert states(ledger).budgets() == [
        BudgetState(budget_id="all", unit="USD", limit=2, spent=0.25, held=0),
        of_the_day(spent=0.125, held=0.5),
    ]


def test_accounts_of_divided_budgets_are_told_where_their_dimensions_are_asked_for(
    ledger: SQLiteLedger,
) -> None:
    for scope in ('{"customer":"acme"}', '{"customer":"acme","session":"s"}'):
        divided = Account(budget_id="all", scope=scope, period="", limit=2 * USD)
        assert ledger.hold(hold((divided, USD))) is None

    def scopes(*dimensions: str) -> list[tuple[tuple[str, str | None], ...]]:
        return [one.scope for one in states(ledger, *dimensions).budgets() if one.scope]

    of_customer, of_session = (("customer", "acme"),), (("customer", "acme"), ("session", "s"))
    assert scopes() == []
    assert scopes("session") == []
    assert scopes("customer") == [of_customer]
    assert sorted(scopes("customer", "session")) == [of_customer, of_session]


def test_customers_of_a_plan_are_told_in_their_own_billing_periods(ledger: SQLiteLedger) -> None:
    rules = """
version: 1
plans: {pro: {budgets: [{id: pro-month, limit: 1 USD, window: month}]}}
assign: {acme: {plan: pro, anchor: 2026-11-14}, "*": pro}
"""
    anchored = period(Window(every="month", anchor=date(2026, 11, 14)), time.time_ns())[0]
    calendar = period(Window(every="month"), time.time_ns())[0]
    of_now = {"acme": anchored, "other": calendar}
    for customer, key in (*of_now.items(), ("acme", "2020-01-14/2020-02-14")):
        scope = f'{{"customer":"{customer}"}}'
        theirs = Account(budget_id="pro-month", scope=scope, period=key, limit=USD)
        assert ledger.hold(hold((theirs, 1))) is None
    found = states(ledger, "customer", rules=rules).budgets()
    assert sorted(dict(one.scope)["customer"] or "" for one in found) == ["acme", "other"]
    assert states(ledger, rules=rules).budgets() == []


def test_where_others_share_an_authority_single_values_have_their_own_limits(
    ledger: SQLiteLedger,
) -> None:
    rules = "version: 1\nbudgets: [{id: all, limit: 2 USD, per: customer, limits: {acme: 5 USD}}]"
    shared = MemoryLedger()
    for customer, spent in (("acme", 3), ("other", 1)):
        theirs = Account(
            budget_id="all", scope=f'{{"customer":"{customer}"}}', period="", limit=5 * USD
        )
        asked = hold((theirs, spent * USD))
        assert shared.hold(asked) is None
        done = settled(asked, spent * USD)
        shared.post(done, asked)
        ledger.post(done, asked)  # this host's file has the event, and was not asked
    gate = BudgetGate(parse_rules(rules), PriceBook.empty(), shared)
    seen = LedgerStates(ledger, gate, dimensions=frozenset({"customer"}), standing=shared)
    assert {(one.scope[0][1], one.limit, one.spent) for one in seen.budgets()} == {
        ("acme", 5, 3),
        ("other", 2, 1),
    }


@pytest.mark.parametrize("is_divided", [False, True])
def test_a_rolling_budget_has_one_gauge(ledger: SQLiteLedger, *, is_divided: bool) -> None:
    per = "per: customer, " if is_divided else ""
    rules = f"version: 1\nbudgets: [{{id: fast, {per}limit: 10 USD, window: {{rolling: 90d}}}}]"
    seen = states(ledger, "customer", rules=rules)
    ledger.open()
    assert [one.spent for one in seen.budgets()] == ([] if is_divided else [0])
    keys, _ = periods(Window(every="rolling", seconds=90 * 86_400), time.time_ns())
    scope = '{"customer":"a"}' if is_divided else ""
    for number, key in enumerate(keys, start=1):
        where = Account(budget_id="fast", scope=scope, period=key, limit=10 * USD)
        asked = hold((where, number * USD))
        assert ledger.hold(asked) is None
        ledger.post(settled(asked, number * USD), asked)
    seen._read_at -= 10
    (told,) = seen.budgets()
    assert (told.spent, told.limit) == (7, 10)
    # Of what was spent, some comes back every day: nothing ends.
    assert (told.period_seconds, told.ends_at_unix_ns) == (90 * 86_400, None)


def test_only_the_newest_accounts_of_a_divided_budget_are_read(ledger: SQLiteLedger) -> None:
    for number in range(5):
        scope = f'{{"customer":"c{number}"}}'
        divided = Account(budget_id="all", scope=scope, period="", limit=USD)
        assert ledger.hold(hold((divided, 1))) is None
    found = LedgerReader(ledger.path).balances_of([("all", "")], most_scopes=2)
    assert [one.account.scope for one in found] == ['{"customer":"c4"}', '{"customer":"c3"}']


def test_it_is_read_once_a_second_and_kept_when_it_cant_be_read(ledger: SQLiteLedger) -> None:
    ledger.open()
    seen = states(ledger)
    before = seen.budgets()
    ledger.close()
    (ledger.home / LEDGER_FILE).write_bytes(b"not a database" * 1000)
    assert seen.budgets() is before
    seen._read_at -= 10
    assert seen.budgets() == before


def test_events_that_wait_are_counted_with_the_oldest(ledger: SQLiteLedger) -> None:
    assert ledger.waiting() == Waiting()
    ledger.rescue(an_event(NOON_UNIX_NS + 5), None)
    ledger.rescue(an_event(NOON_UNIX_NS + 9), None)
    others = ledger.home / "rescue-other.jsonl"
    others.write_bytes(encode_event(an_event(NOON_UNIX_NS)) + b"\n")
    assert ledger.waiting() == Waiting(count=3, oldest_unix_ns=NOON_UNIX_NS)
    assert states(ledger).outbox() == (3, NOON_UNIX_NS)


def test_events_that_wait_in_memory_are_counted_too(ledger: SQLiteLedger) -> None:
    with full_disk(0):
        ledger.rescue(an_event(NOON_UNIX_NS + 5), None)
        assert ledger.waiting() == Waiting(count=1, oldest_unix_ns=NOON_UNIX_NS + 5)
    ledger.take_rescued()
    assert ledger.waiting() == Waiting()


def test_a_file_that_begins_with_no_event_is_as_old_as_its_last_change(
    ledger: SQLiteLedger,
) -> None:
    ledger.home.mkdir()
    (ledger.home / "rescue-other.jsonl").write_bytes(b"torn\n")
    (path,) = rescued_files(ledger.home)
    assert ledger.waiting() == Waiting(count=1, oldest_unix_ns=path.stat().st_mtime_ns)
