"""Rolling windows: no stretch of time of the length ever holds more than the limit."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS, new_id
from tests.unit.budget.test_gate import Prices, World
from tests.unit.budget.test_loops import Clock
from tests.unit.budget.test_plans import a_call
from tollspan.budget import (
    ROLLING,
    Account,
    Balance,
    Budget,
    BudgetGate,
    BudgetWarning,
    LeasedLedger,
    MemoryAuthority,
    MemoryLedger,
    OnExceed,
    Replay,
    RuleSet,
    Warner,
    Window,
    accounts_of,
    end_of,
    ends_at,
    fullest,
    parse_rules,
    period,
    periods,
    read_rolling,
)
from tollspan.usage import (
    Attribution,
    BudgetExceededError,
    Charge,
    Cost,
    DecisionNote,
    Outcome,
    Usage,
    UsageEvent,
    VelocityExceededError,
)

SECOND = 10**9
YEAR = 366 * 86_400 * SECOND
LENGTHS = st.one_of(st.integers(1, 200), st.integers(1, 90 * 86_400))
MOMENTS = st.integers(YEAR, 200 * YEAR)


def minute(limit: int = 100, **more: object) -> Budget:
    """Return a budget of one rolling minute."""
    return Budget(id="fast", limit=limit, window=Window(every=ROLLING, seconds=60), **more)  # type: ignore[arg-type]  # keywords of a test


def begins(seconds: int, moment: int) -> list[int]:
    """Return when the fixed windows of a moment begin, by their keys."""
    keys, _ = periods(Window(every=ROLLING, seconds=seconds), moment)
    found = [read_rolling(key) for key in keys]
    return [one.begins_at_unix_ns for one in found if one is not None]


@given(LENGTHS, MOMENTS)
def test_every_stretch_of_the_length_lies_inside_one_of_the_windows(
    seconds: int, moment: int
) -> None:
    (newest, *_), _ = periods(Window(every=ROLLING, seconds=seconds), moment)
    found = read_rolling(newest)
    assert found is not None
    assert found.seconds == seconds
    assert found.begins_at_unix_ns <= moment
    assert found.ends_at_unix_ns >= moment + seconds * SECOND


@given(LENGTHS, MOMENTS)
def test_a_moment_lies_in_its_seven_windows_and_in_no_other(seconds: int, moment: int) -> None:
    keys, until = periods(Window(every=ROLLING, seconds=seconds), moment)
    starts = begins(seconds, moment)
    step = starts[0] - starts[1]
    length = 7 * step
    assert len(keys) == len(starts) == 7
    assert all(start <= moment < start + length for start in starts)
    assert starts[0] + step > moment  # the next has not begun
    assert starts[-1] - step + length <= moment  # the one before is over
    assert length < seconds * SECOND * 7 // 6 + 7
    assert until == starts[0] + step


@given(LENGTHS, MOMENTS)
def test_keys_stand_until_a_window_begins_and_sort_by_time(seconds: int, moment: int) -> None:
    window = Window(every=ROLLING, seconds=seconds)
    keys, until = periods(window, moment)
    assert periods(window, until - 1) == (keys, until)
    following, _ = periods(window, until)
    assert following[1:] == keys[:-1]
    assert sorted((following[0], *keys)) == [*reversed(keys), following[0]]
    assert period(window, moment) == (keys[0], until)


def test_a_key_names_its_length_and_says_itself_when_it_ends() -> None:
    key = "60s/00179534880"
    assert period(Window(every=ROLLING, seconds=60), NOON_UNIX_NS)[0] == key
    ends = end_of(Window(every="day"), key, 0)  # whatever the budget's window is by now
    assert ends == ends_at(Window(every=ROLLING, seconds=60), NOON_UNIX_NS)
    assert ends is not None
    assert ends.timestamp() == NOON_UNIX_NS / SECOND + 70


@pytest.mark.parametrize(
    "key", ["", "2026-11", "2026-11-14/2026-12-14", "0s/00179534880", "60s/7", "block", "f" * 32]
)
def test_the_key_of_anything_else_is_no_rolling_window(key: str) -> None:
    assert read_rolling(key) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60), ("5m", 300), ("24h", 86_400), ("1s", 1), ("90d", 7_776_000)],
)  # fmt: skip
def test_a_length_is_read(text: str, seconds: int) -> None:
    (budget,) = parse_rules(
        f"version: 1\nbudgets: [{{id: a, limit: 1 USD, window: {{rolling: {text}}}}}]"
    ).budgets
    assert budget.window == Window(every="rolling", seconds=seconds)


class Spent:
    """What was let through and counts, kept apart from the ledger."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[int, int]] = {}

    def within(self, start: int, length: int) -> int:
        """Sum what counts of calls that began in a stretch of time."""
        return sum(amount for at, amount in self.calls.values() if start <= at < start + length)

    def most(self, length: int) -> int:
        """Return the most that any stretch of a length holds."""
        return max((self.within(at, length) for at, _ in self.calls.values()), default=0)

    def most_around(self, moment: int, length: int) -> int:
        """Return the most that any stretch of a length around a moment holds."""
        starts = [at for at, _ in self.calls.values() if moment - length < at <= moment]
        return max(self.within(start, length) for start in (moment, moment - length + 1, *starts))


STEPS = st.lists(
    st.tuples(
        # A minute holds six steps: what lies nearly as far apart is where windows could miss it.
        st.one_of(
            st.integers(0, 15 * SECOND),
            st.integers(48 * SECOND, 72 * SECOND),
            st.sampled_from([10 * SECOND, 60 * SECOND, 70 * SECOND]),
        ),
        st.sampled_from([0, 10, 30, 60, 100]),  # bound
        st.sampled_from([100, 100, 20]),  # the most of it that is spent
        st.sampled_from(["spends", "spends", "runs on", "never made"]),
    ),
    max_size=20,
)


@given(STEPS, st.sampled_from([1, 7, 60]), st.integers(0, 10 * SECOND))
def test_no_stretch_holds_more_than_the_limit_and_what_fits_in_each_goes_out(
    steps: list[tuple[int, int, int, str]], seconds: int, offset: int
) -> None:
    prices = Prices()
    window = Window(every=ROLLING, seconds=seconds)
    world = World(RuleSet(budgets=(Budget(id="fast", limit=100, window=window),)), prices)
    spent = Spent()
    moment = NOON_UNIX_NS + offset
    length = seconds * SECOND
    longer = length + -(-length // 6)
    for delay, bound, most, becomes in steps:
        moment += delay * seconds // 60
        prices.bound_nanousd = bound
        fits = spent.most_around(moment, longer) + bound <= 100
        call, decision = world.ask(moment)
        assert decision.denial is None or not fits
        if decision.denial is not None:
            continue
        spent.calls[call.id] = (moment, bound)
        assert spent.most(length) <= 100
        if becomes == "spends":
            amount = min(most, bound)
            prices.cost = Cost(status="priced", amount_nanousd=amount)
            world.end(call, decision)
            spent.calls[call.id] = (moment, amount)
        elif becomes == "never made":
            world.gate.abandon(call.id)
            del spent.calls[call.id]


def test_a_refused_call_is_told_when_there_is_room_and_then_there_is() -> None:
    world = World(RuleSet(budgets=(minute(),)), Prices(bound=100, cost=100))
    world.end(*world.ask(NOON_UNIX_NS))
    denial = world.ask(NOON_UNIX_NS + 20 * SECOND)[1].denial
    assert isinstance(denial, BudgetExceededError)
    assert denial.rule_id == "fast"
    assert denial.resets_at is not None
    assert denial.resets_at.timestamp() == NOON_UNIX_NS / SECOND + 70
    assert denial.recovery.retry_after_seconds == 50
    assert not denial.recovery.owner_action_required
    assert world.ask(NOON_UNIX_NS + 70 * SECOND - 1)[1].denial is not None
    assert world.ask(NOON_UNIX_NS + 70 * SECOND)[1].denial is None


def test_of_what_was_spent_bit_by_bit_only_the_oldest_has_to_come_back() -> None:
    world = World(RuleSet(budgets=(minute(),)), Prices(bound=50, cost=50))
    for second in (0, 30):
        world.end(*world.ask(NOON_UNIX_NS + second * SECOND))
    denial = world.ask(NOON_UNIX_NS + 40 * SECOND)[1].denial
    assert isinstance(denial, BudgetExceededError)
    assert denial.recovery.retry_after_seconds == 30
    assert world.ask(NOON_UNIX_NS + 70 * SECOND)[1].denial is None


def test_a_call_above_the_whole_limit_waits_for_nothing() -> None:
    denial = World(RuleSet(budgets=(minute(99),)), Prices(bound=100)).ask()[1].denial
    assert denial is not None
    assert denial.recovery.owner_action_required
    assert denial.recovery.retry_after_seconds is None


@pytest.mark.parametrize("on_exceed", ["deny", "warn"])
def test_a_decision_names_the_budget_once(on_exceed: OnExceed) -> None:
    world = World(RuleSet(budgets=(minute(on_exceed=on_exceed),)), Prices(bound=100, cost=100))
    call, decision = world.ask()
    assert decision.note.rule_ids == ("fast",)
    event = world.end(call, decision)
    assert len(event.charges) == 7
    assert {charge.posted for charge in event.charges} == {100}
    assert event.marks == ()
    assert world.ask()[1].note.rule_ids == ("fast",)


@pytest.mark.parametrize("unit", ["calls", "tokens"])
def test_calls_and_tokens_roll_too(unit: str) -> None:
    rules = parse_rules(
        f"version: 1\nbudgets: [{{id: a, limit: 60 {unit}, window: {{rolling: 60s}}}}]"
    )
    prices = Prices()
    prices.tokens = 30
    world = World(rules, prices)
    allowed = 60 if unit == "calls" else 2
    denials = [world.ask()[1].denial for _ in range(allowed + 1)]
    assert denials[:-1] == [None] * allowed
    assert denials[-1] is not None
    assert world.ask(NOON_UNIX_NS + 70 * SECOND)[1].denial is None


def test_the_velocity_of_an_owner_is_limited_and_cools_down() -> None:
    rules = parse_rules(
        "version: 1\nbudgets: [{id: velocity, per: [customer], limit: 0.00000025 USD, "
        "window: {rolling: 60s}, cooldown: 60s}]"
    )
    clock = Clock()
    gate = BudgetGate(rules, Prices(bound=100), MemoryLedger(), clock=clock)

    def ask(customer: str, second: int) -> object:
        call = a_call(customer=customer)
        at = NOON_UNIX_NS + second * SECOND
        return gate.authorize(msgspec.structs.replace(call, started_at_unix_ns=at)).denial

    assert [ask("acme", 0) for _ in range(2)] == [None, None]
    denial = ask("acme", 1)
    assert isinstance(denial, VelocityExceededError)
    assert denial.recovery.retry_after_seconds == 69  # of the window, which is longer here
    clock.now += 59
    assert "cools down for 1 s" in str(ask("acme", 75))
    assert ask("beta", 75) is None
    clock.now += 1
    assert ask("acme", 76) is None


def test_hosts_with_leases_keep_to_it_together() -> None:
    authority = MemoryAuthority()
    authority.open_epoch()
    rules = RuleSet(budgets=(minute(1_000),))
    ledgers = [
        LeasedLedger(authority, MemoryLedger(), holder=partial(str, name))
        for name in ("one", "other")
    ]
    try:
        gates = [BudgetGate(rules, Prices(bound=100), ledger) for ledger in ledgers]
        calls = [a_call() for _ in range(40)]
        let = [gates[number % 2].authorize(call).denial for number, call in enumerate(calls)]
        assert let.count(None) == 10
        assert {one.rule_id for one in let if one is not None} == {"fast"}
    finally:
        for ledger in ledgers:
            ledger.close()


@pytest.mark.parametrize("shown", [0, 3, 6])
def test_the_fullest_account_says_how_a_budget_stands(shown: int) -> None:
    accounts = accounts_of(RuleSet(budgets=(minute(),)), "fast", Attribution(), NOON_UNIX_NS)
    balances = [
        Balance(account=one, posted=40 if number == shown else 7)
        for number, one in enumerate(accounts)
    ]
    other = Balance(account=Account(budget_id="fast", scope="", period="", limit=9))
    assert fullest([*balances, other]) == (balances[shown], other)
    untouched = [Balance(account=one) for one in accounts]
    assert fullest(untouched) == (untouched[0],)  # the one that ends last


def test_a_length_of_time_and_owner_stand_for_themselves() -> None:
    keys = [f"{seconds}s/00179534880" for seconds in (60, 60, 300)]
    balances = [
        Balance(account=Account(budget_id="b", scope=scope, period=key, limit=9))
        for key, scope in zip(keys, ("", '{"user":"u"}', ""), strict=True)
    ]
    assert fullest(balances) == tuple(balances)


class Warned:
    """A warner over a memory ledger, told of calls of a rolling minute."""

    def __init__(self, text: str, ledger: MemoryLedger | None = None) -> None:
        self.rules = parse_rules(
            f"version: 1\nbudgets: [{{id: a, window: {{rolling: 60s}}, {text}}}]"
        )
        self.ledger = ledger or MemoryLedger()
        self.told: list[BudgetWarning] = []
        self.now = 0.0
        self.warner = Warner(
            lambda: self.rules, self.ledger, self.ledger, self.told.append, clock=lambda: self.now
        )

    def spend(self, second: int, posted: int, *, is_short: bool = False) -> list[Decimal | None]:
        """Post a call that started at a second; return the shares that were told of."""
        before = len(self.told)
        at = NOON_UNIX_NS + second * SECOND
        call = msgspec.structs.replace(a_call(), id=new_id(), started_at_unix_ns=at)
        keys, _ = periods(self.rules.budgets[0].window, at)
        done = UsageEvent(
            call=call,
            decision=DecisionNote(action="warn" if is_short else "allow", rule_ids=("a",)),
            outcome=Outcome(status="ok"),
            usage=Usage(output=1),
            cost=Cost(status="priced", amount_nanousd=0),
            charges=tuple(
                Charge(budget_id="a", scope="", period=key, unit="tokens", posted=posted)
                for key in keys
            ),
        )
        self.ledger.post(done, None)
        self.warner.look(done)
        return [one.share for one in self.told[before:]]


HALF, MOST = Decimal("0.5"), Decimal("0.8")


def test_a_share_is_told_once_by_the_account_that_is_fullest() -> None:
    world = Warned("limit: 100 tokens, warn_at: [0.5, 0.8]")
    told = [world.spend(second, 20) for second in (0, 15, 30, 40)]
    assert told == [[], [], [HALF], [MOST]]
    assert world.told[0].spent == 60


def test_a_share_that_stays_passed_is_told_again_no_sooner_than_the_length_is_over() -> None:
    world = Warned("limit: 100 tokens, warn_at: 0.5")
    told = [second for second in range(400) if world.spend(second, 2)]
    assert told[0] == 24
    assert len(told) == 6
    assert all(60 < after - before <= 70 for before, after in pairwise(told))


def test_two_processes_tell_a_share_once_together() -> None:
    ledger = MemoryLedger()
    worlds = [Warned("limit: 100 tokens, warn_at: 0.5", ledger) for _ in range(2)]
    assert [worlds[number % 2].spend(number, 60) for number in range(30)].count([HALF]) == 1


def test_a_call_that_does_not_fit_is_told_once_for_the_budget() -> None:
    world = Warned("limit: 100 tokens, on_exceed: warn")
    assert world.spend(0, 90) == []
    assert world.spend(35, 90, is_short=True) == [None]
    assert (world.told[0].reason, world.told[0].spent) == ("exceeded", 180)
    assert world.spend(36, 90, is_short=True) == []


@pytest.mark.parametrize("on_exceed", ["deny", "warn"])
def test_a_replay_counts_a_call_once(on_exceed: OnExceed) -> None:
    replay = Replay(RuleSet(budgets=(minute(on_exceed=on_exceed),)), Prices(bound=80))
    for second in (0, 1):
        call = a_call()
        replay.see(
            UsageEvent(
                call=msgspec.structs.replace(
                    call, started_at_unix_ns=NOON_UNIX_NS + second * SECOND
                ),
                decision=DecisionNote(),
                outcome=Outcome(status="ok", duration_ns=1),
                usage=Usage(output=1),
                cost=Cost(status="priced", amount_nanousd=80),
            )
        )
    for outlook in replay.outlooks.values():
        (verdicts,) = outlook.verdicts.values()
        assert (verdicts.rule, verdicts.action, verdicts.calls) == ("fast", on_exceed, 1)
