"""The law of idle windows: processes, random activity, a clock that goes back, links that break."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.contract.ledger.making import NOON_UNIX_NS
from tests.unit.budget.test_gate import Prices
from tests.unit.budget.test_idle import IDLE_SECONDS, SECOND, session
from tollspan.budget import BudgetGate, Decision, IdleRows, MemoryLedger, RuleSet, Touch
from tollspan.usage import Attribution, Call, LedgerUnavailableError, Request

LASTS = IDLE_SECONDS * 1.1
LONG_AGO = -1e9
Act = tuple[str, float]
STARVED = 1
"""The process whose thread never gets its turn; its calls take no time."""
WAITS = st.sampled_from([0.0, 4.0, 9.9, 95.0, 99.0, 111.0])
"""Around the moments at which something is due."""
ACTS = st.sampled_from([("call", 0.0), ("call", STARVED), ("begin", 0.0), ("end", 0.0)])
BREAKS = st.one_of(
    ACTS,
    st.sampled_from([("cut", 0.0), ("cut", STARVED), ("mend", 0.0), ("jump", -300.0)]),
)
JUMPS = st.sampled_from([("jump", -50.0), ("jump", -500.0), ("call", 0.0)])


class Link(MemoryLedger):
    """What one process asks of the authority, which does not see what is held."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world
        self.is_cut = False

    def touch(self, touch: Touch) -> str:
        if self.is_cut:
            raise LedgerUnavailableError("cut off")
        return self._world.touched(touch)


class World:
    """Two processes that share one session, second by second."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jumped = 0.0
        self.rows = IdleRows()
        self.links = [Link(self) for _ in range(2)]
        self.gates = [self._process(number) for number in range(2)]
        self.open: list[Decision] = []
        self.calls = 0
        self.was_cut = False
        self.active_at = self.told_at = LONG_AGO
        self.period = self.named = ""

    def _process(self, number: int) -> BudgetGate:
        return BudgetGate(
            RuleSet(budgets=(session(),)),
            Prices(),
            self.links[number],
            clock=lambda: self.now + 7_000 * number,
        )

    def touched(self, touch: Touch) -> str:
        """Answer as the authority, and see that what it was told keeps a period alive."""
        clock = NOON_UNIX_NS + int((self.now + self.jumped) * SECOND)
        key = self.rows.touch(touch, clock, lambda _: False)
        if not touch.is_known and key != self.named:
            assert self.now - self.told_at >= IDLE_SECONDS, "what was told was forgotten"
        self.named = key
        self.told_at = max(self.told_at, self.now - touch.ago_ns / SECOND)
        return key

    def wait(self, seconds: float) -> None:
        ends_at = self.now + seconds
        while self.now < ends_at:
            self.now = min(ends_at, self.now + 1)
            self.gates[0].tick()
        if self.open:
            self.active_at = self.now

    def begin(self, number: float) -> None:
        self.calls += 1
        call = Call(
            id=f"{self.calls:032x}",
            started_at_unix_ns=NOON_UNIX_NS + int(self.now * SECOND),
            request=Request(provider="openai", operation="chat", model="m", max_output_tokens=9),
            attribution=Attribution(session="a"),
        )
        decision = self.gates[int(number)].authorize(call)
        if decision.denial is not None:
            assert self.was_cut
            return
        assert decision.hold is not None
        ((account, _),) = decision.hold.legs
        if not self.was_cut:
            self.check(account.period)
        self.period, self.active_at = account.period, self.now
        self.open.append(decision)

    def call(self, number: float) -> None:
        """Make a call that takes no time."""
        self.begin(number)
        self.end(-1)

    def check(self, period: str) -> None:
        silence = self.now - self.active_at
        if period != self.period:
            assert silence >= IDLE_SECONDS, "begun anew too early"
        elif not self.jumped:
            assert silence < LASTS + 1e-6, "not begun anew"

    def end(self, which: float) -> None:
        if self.open:
            decision = self.open.pop(int(which))
            assert decision.on_end is not None
            decision.on_end()
            decision.on_end()  # as often as one likes
            self.active_at = self.now

    def jump(self, seconds: float) -> None:
        self.jumped += seconds

    def cut(self, number: float) -> None:
        self.was_cut = True
        self.links[int(number)].is_cut = True

    def mend(self, number: float) -> None:
        self.links[int(number)].is_cut = False


def live(rounds: list[tuple[float, Act]]) -> None:
    """Wait and act, again and again."""
    world = World()
    for seconds, (name, argument) in rounds:
        world.wait(seconds)
        getattr(world, name)(argument)


@given(st.lists(st.tuples(WAITS, ACTS), min_size=10, max_size=40))
@settings(deadline=None, max_examples=300)
def test_a_period_ends_between_the_idle_time_and_a_tenth_more_after_the_last_activity(
    rounds: list[tuple[float, Act]],
) -> None:
    live(rounds)


@given(st.lists(st.tuples(WAITS, st.one_of(ACTS, JUMPS)), min_size=10, max_size=40))
@settings(deadline=None, max_examples=200)
def test_a_clock_that_goes_back_ends_no_period_early(rounds: list[tuple[float, Act]]) -> None:
    live(rounds)


@given(st.lists(st.tuples(WAITS, BREAKS), min_size=10, max_size=40))
@settings(deadline=None, max_examples=200)
def test_whoever_is_cut_off_what_the_authority_was_told_ends_no_period_early(
    rounds: list[tuple[float, Act]],
) -> None:
    live(rounds)
