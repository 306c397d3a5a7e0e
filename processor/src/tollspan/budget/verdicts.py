"""What becomes of a call of which policies had something to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from tollspan.usage import Bound, Call, CallDeniedError, DecisionNote

from .plans import Plan
from .values import Decision, Hold

SoftAction = Literal["warn", "shadow"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What policies say of one call.

    Attributes:
        denial: Why it is refused; None when it may go ahead, as far as policies are concerned.
        rule_ids: The policies that it violates: with a denial those that refuse it, else all.
        action: What a call is that goes ahead all the same; None when it violates nothing.
        take_back: What is to be done if it is refused after all; None for nothing.
        on_end: What is to be done once it has ended, or is refused; None for nothing.
    """

    denial: CallDeniedError | None = None
    rule_ids: tuple[str, ...] = ()
    action: SoftAction | None = None
    take_back: Callable[[], None] | None = None
    on_end: Callable[[], None] | None = None

    def refused(self) -> Decision:
        """Return the decision on a call that policies refuse, whatever the budgets would say."""
        note = DecisionNote(action="deny", rule_ids=self.rule_ids)
        return Decision(note=note, denial=self.denial)

    def join(self, call: Call, decision: Decision) -> Decision:
        """Put what policies say into what the budgets say: the sharper word, and all rules."""
        note = decision.note
        if decision.denial is not None:
            for undo in (self.take_back, self.on_end):
                if undo is not None:
                    undo()
            note = msgspec.structs.replace(note, rule_ids=(*note.rule_ids, *self.rule_ids))
            return msgspec.structs.replace(decision, note=note)
        if self.action is not None:
            said = note.rule_ids if note.action != "allow" else ()
            action = self.action if note.action in ("allow", "shadow") else note.action
            note = msgspec.structs.replace(note, action=action, rule_ids=(*said, *self.rule_ids))
        if self.on_end is None:
            return msgspec.structs.replace(decision, note=note)
        # The closer looks at `on_end` on its longer path: where not all accounts are of money.
        hold = decision.hold or Hold(
            call_id=call.id, started_at_unix_ns=call.started_at_unix_ns, legs=()
        )
        hold = msgspec.structs.replace(hold, is_money=False)
        return msgspec.structs.replace(decision, note=note, hold=hold, on_end=self.on_end)


class JudgedPlan(msgspec.Struct, frozen=True):
    """The plan of one call of which policies had something to say.

    Attributes:
        call: The call.
        plan: The plan of calls of its kind.
        verdict: What policies say of this one.
    """

    call: Call
    plan: Plan
    verdict: Verdict

    def allow(self, hold: Hold, bound: Bound) -> Decision:
        """Return the decision on the call when every budget has room for it."""
        return self.verdict.join(self.call, self.plan.allow(hold, bound))

    def join(self, decision: Decision) -> Decision:
        """Return the decision when some budget has no room, or can't be asked."""
        return self.verdict.join(self.call, self.plan.join(decision))

    @property
    def may_fit(self) -> bool:
        """Whether the call may be changed until it fits."""
        return self.plan.may_fit
