"""Judges single calls by policies: what they say of calls of its kind, and of this one."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from datetime import UTC, datetime
from functools import partial

from tollspan.usage import Bound, Call, LoopDetectedError, Mode, Recovery, format_amount

from .in_flight import InFlight, Place
from .loops import Loops, Mark, Repeated
from .policies import Policy
from .policing import PolicyPlan, Watched
from .turns import turn_of
from .values import REPORT
from .verdicts import SoftAction, Verdict
from .violations import Violation, ids_of, whose

# The one door whose calls are sure to be seen to end.
_FOLLOWED = "instrumentor"
_WAIT = Recovery(retryable=True, owner_action_required=False)


class Judge:
    """Judges calls, and remembers what policies have to know of those before. Safe for threads.

    Args:
        mode: Nothing is refused but in `enforce`.
        agents: Names the agents around the call that is being made, outermost first.
        clock: Seconds, which no setting of a clock moves.

    Attributes:
        is_looking: It counts no call.
    """

    def __init__(
        self,
        mode: Mode,
        agents: Callable[[], tuple[str, ...]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_enforced = mode == "enforce"
        self._agents = agents
        self.is_looking = False
        self._in_flight = InFlight()
        self._loops = Loops(clock)

    def judge(self, call: Call, plan: PolicyPlan, bound: Bound, on_unpriced: str) -> Verdict:
        """Say what policies say of a call; one that they let through is under way from here on.

        Args:
            call: The call.
            plan: What they say of calls of its kind, and what has to be looked at in each.
            bound: The most that it can cost.
            on_unpriced: What the rules say of models without a price.
        """
        # What is reported was used already, and is under way no more.
        watched = plan.watched if call.door != REPORT else ()
        violations = list(plan.violations)
        for one in watched:
            violations += _cost(one.policy, bound, on_unpriced)
            violations += self._depth(one.policy, call)
        counted = [one for one in watched if one.is_counted and call.door == _FOLLOWED]
        looped = [one for one in watched if one.policy.loop is not None]
        take_back = None
        if looped and not self._hard(violations):
            found, take_back = self._repeat(call, looped)
            violations += found
        if counted and not self._hard(violations):
            violations += self._enter(call, counted)
        hard = self._hard(violations)
        if hard:
            if take_back is not None:
                take_back()
            return Verdict(denial=hard[0].denial(call), rule_ids=ids_of(hard))
        return Verdict(
            rule_ids=ids_of(violations),
            action=self._action(violations),
            take_back=take_back,
            on_end=partial(self.leave, call.id) if counted and not self.is_looking else None,
        )

    def looking(self) -> Judge:
        """Return a judge that says what this one would say now, and counts no call."""
        judge = copy(self)
        judge.is_looking = True
        return judge

    @property
    def in_flight(self) -> int:
        """How many calls are under way, of those that a policy counts."""
        return len(self._in_flight)

    def leave(self, call_id: str) -> None:
        """Take note that a call is under way no more, if it ever was."""
        self._in_flight.leave(call_id)

    def forget(self) -> None:
        """Begin anew in a forked child: what is under way is the parent's."""
        self._in_flight.forget()
        self._loops.forget()

    def _hard(self, violations: list[Violation]) -> list[Violation]:
        """Return those for which the call is refused."""
        return [one for one in violations if self._is_enforced and one.is_hard]

    def _action(self, violations: list[Violation]) -> SoftAction | None:
        if not violations:
            return None
        is_told = any(one.policy.on_violation == "warn" for one in violations)
        return "warn" if is_told and self._is_enforced else "shadow"

    def _depth(self, policy: Policy, call: Call) -> list[Violation]:
        if policy.most_depth is None:
            return []
        agents = self._agents()
        own = call.attribution.agent
        if own is not None and own not in agents[-1:]:  # said of this call alone
            agents = (*agents, own)
        depth = len(agents)
        if depth <= policy.most_depth:
            return []
        text = f"it allows agents to be nested {policy.most_depth} deep, and this call is {depth}"
        return [Violation(policy=policy, text=f"{text} deep")]

    def _repeat(
        self, call: Call, looped: list[Watched]
    ) -> tuple[list[Violation], Callable[[], None]]:
        """Count a call among those that it is like, where there were not too many."""
        turn = turn_of(call.id)
        by_id = {one.policy.id: one for one in looped}
        marks: list[Mark] = []
        for one in looped:
            loop = one.policy.loop
            if loop is None or (loop.asks_turn and turn is None):
                continue  # nobody knows what it is like
            likeness = (one.policy.id, one.alike, turn if loop.asks_turn else None)
            is_hard = self._is_enforced and one.policy.on_violation == "deny"
            marks.append(Mark(likeness, loop, is_hard))
        repeated, take_back = self._loops.enter(marks, is_counted=not self.is_looking)
        found = [_loop(by_id[one.mark.likeness[0]], one, call) for one in repeated]
        return found, take_back

    def _enter(self, call: Call, counted: list[Watched]) -> list[Violation]:
        """Count a call among those in flight, where there is room."""
        by_place = {one.place: one for one in counted}
        hard: list[tuple[Place, int]] = []
        soft: list[tuple[Place, int]] = []
        for place, one in by_place.items():
            is_hard = self._is_enforced and one.policy.on_violation == "deny"
            (hard if is_hard else soft).append((place, one.policy.most_in_flight or 0))
        if self.is_looking:
            full = self._in_flight.look(hard, soft)
        else:
            full = self._in_flight.enter(call.id, hard, soft)
        return [_crowd(by_place[place]) for place in full]


def _cost(policy: Policy, bound: Bound, on_unpriced: str) -> list[Violation]:
    most = policy.most_cost_nanousd
    if most is None:
        return []
    asked = bound.amount_nanousd
    if asked is None and "unpriced" in bound.reasons and on_unpriced != "deny":
        return []  # the rules let it through as if it cost nothing
    if asked is not None and asked <= most:
        return []
    may = "nothing bounds what this one costs"
    if asked is not None:
        may = f"this one may cost up to {format_amount(asked, 'usd')}"
    text = f"it allows calls of at most {format_amount(most, 'usd')}, and {may}"
    return [Violation(policy=policy, text=text, limit=most, asked=asked)]


def _loop(watched: Watched, repeated: Repeated, call: Call) -> Violation:
    loop = repeated.mark.loop
    wait = repeated.wait_seconds
    like = "with the same last turn " if loop.asks_turn else ""
    calls = format_amount(loop.repeats, "calls")
    return Violation(
        policy=watched.policy,
        text=f"it allows {calls}{whose(watched.alike)} {like}within {loop.within_seconds} s, "
        "and there were as many",
        kind=LoopDetectedError,
        scope=watched.alike,
        unit="calls",
        limit=loop.repeats,
        spent=loop.repeats,
        asked=1,
        resets_at=datetime.fromtimestamp(call.started_at_unix_ns / 1e9 + wait, UTC),
        # The same turn once more is the same loop: the program has to say something else.
        recovery=Recovery(
            retryable=not loop.asks_turn, retry_after_seconds=wait, owner_action_required=False
        ),
    )


def _crowd(watched: Watched) -> Violation:
    policy, scope = watched.policy, watched.scope
    most = policy.most_in_flight or 0
    calls = format_amount(most, "calls")
    return Violation(
        policy=policy,
        text=f"it allows {calls}{whose(scope)} in flight in this process, and as many are",
        scope=scope,
        unit="calls",
        limit=most,
        held=most,
        asked=1,
        recovery=_WAIT if most else None,
    )
