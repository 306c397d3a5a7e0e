"""Which call an answer belongs to, and what was decided of it: for programs that ask.

Nothing is kept until somebody may ask: then each answer is known for as long as it lives, by a weak
reference, and nothing is put into it. A program that never asks pays for none of it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

import msgspec

from tollspan.budget import RuleSet
from tollspan.safety import Guard
from tollspan.usage import CostStatus, DecisionAction

from ._call import Lifecycle
from ._run import Kept, Run
from ._spans import OwnSpan
from ._stream import AsyncStreamProxy, SyncStreamProxy

# Of decisions that name rules because a call did not fit them, and not because they count it.
_NAMES_WHAT_IS_SHORT = frozenset({"warn", "clamp", "reroute"})
_guard = Guard("instrumentation.decisions")


class CallDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What tollspan decided of one call, and what the call has cost.

    Attributes:
        call_id: The call: the id of its event.
        action: `allow`, `shadow`, `warn`, `clamp` or `reroute`.
        asked_model, used_model: As the program named the model, and as the request that was sent.
        rule_ids: The rules that spoke: those that the call did not fit, else all that count it.
        warnings: Those of them that say `warn`.
        is_clamped: The maximum of output is tollspan's own.
        asked_max_output_tokens: The program's own maximum; None when it gave none.
        max_output_tokens: The maximum that was sent; None when there was none.
        bound_nanousd: What was held for the call; None where no budget counts it, or nothing
            bounds it.
        is_ended: The call is over and accounted for; of a stream, once its end was seen.
        cost_nanousd: What it has cost; None until it has ended, and where nobody knows.
        cost_status: How much of the cost is known; None until the call has ended.
    """

    call_id: str
    action: DecisionAction
    asked_model: str
    used_model: str
    rule_ids: tuple[str, ...]
    warnings: tuple[str, ...]
    is_clamped: bool
    asked_max_output_tokens: int | None
    max_output_tokens: int | None
    bound_nanousd: int | None
    is_ended: bool
    cost_nanousd: int | None
    cost_status: CostStatus | None


class Decisions:
    """Knows the calls of the answers that live. Safe for threads."""

    def __init__(self) -> None:
        self._is_wanted = False
        self._lifecycle: Lifecycle | None = None
        self._rules: Callable[[], RuleSet] = RuleSet
        # By the answer's id: a reference to it, and its call. Answers need not be hashable.
        self._calls: dict[int, tuple[weakref.ref[object], Kept]] = {}

    def attach(self, lifecycle: Lifecycle, rules: Callable[[], RuleSet]) -> None:
        """Look after the calls of this life cycle from now on, once somebody may ask."""
        self._lifecycle, self._rules = lifecycle, rules
        if self._is_wanted:
            lifecycle.remember(self._keep)

    def want(self) -> None:
        """Keep decisions from now on."""
        if not self._is_wanted:
            self._is_wanted = True
            if self._lifecycle is not None:
                self._lifecycle.remember(self._keep)

    def decision_of(self, response: object) -> CallDecision | None:
        """Return what was decided of the call that an answer or a stream belongs to.

        Works with what a provider's method returned: the SDK's answers, raw responses, streams
        while they run and after, and the SDK's helpers over streams. Answers that came before this
        function was imported are not known; nor is what is no object of its own, plain JSON say.

        Args:
            response: What the method returned, itself: not a copy, nor a part of it.

        Returns:
            None for what belongs to no call that is known.
        """
        kept = self._find(response)
        return None if kept is None else _decision(kept, self._rules())

    def _find(self, response: object) -> Kept | None:
        for each in (response, getattr(response, "_raw_stream", None)):
            if type(each) in (SyncStreamProxy, AsyncStreamProxy):
                run: Run = getattr(each, "_self_watch").run  # noqa: B009 - the proxy's own member
                return run.kept or Kept(run.call, run.decision)
            found = self._calls.get(id(each))
            if found is not None and found[0]() is each:
                return found[1]
        return None

    def _keep(self, result: object, run: Run) -> None:
        """Know an answer while it lives; never raises."""
        if isinstance(run.flight.asked, OwnSpan):
            return  # what a tool returns is the program's own
        with _guard:
            place = id(result)
            try:
                reference = weakref.ref(result, partial(self._forget, place))
            except TypeError:  # plain JSON, a text
                return
            kept = run.kept = Kept(run.call, run.decision)
            self._calls[place] = (reference, kept)

    def _forget(self, place: int, reference: weakref.ref[object]) -> None:
        found = self._calls.get(place)
        if found is not None and found[0] is reference:
            del self._calls[place]


def _decision(kept: Kept, rules: RuleSet) -> CallDecision:
    request, note, event = kept.call.request, kept.decision.note, kept.event
    speaking = note.rule_ids if note.action in _NAMES_WHAT_IS_SHORT else ()
    warning = {budget.id for budget in rules.budgets if budget.on_exceed == "warn"}
    is_clamped = note.clamped_to is not None
    cost = None if event is None else event.cost
    return CallDecision(
        call_id=kept.call.id,
        action=note.action,
        asked_model=note.asked_model or request.model,
        used_model=request.model,
        rule_ids=note.rule_ids,
        warnings=tuple([rule_id for rule_id in speaking if rule_id in warning]),
        is_clamped=is_clamped,
        asked_max_output_tokens=note.clamped_from if is_clamped else request.max_output_tokens,
        max_output_tokens=request.max_output_tokens,
        bound_nanousd=note.bound_nanousd,
        is_ended=event is not None,
        cost_nanousd=None if cost is None else cost.amount_nanousd,
        cost_status=None if cost is None else cost.status,
    )


DECISIONS = Decisions()
"""The decisions of this process; `install` attaches its life cycle."""
