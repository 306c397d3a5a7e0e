"""What policies say of one call, and what becomes of it then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from tollspan.usage import (
    Bound,
    Call,
    CallDeniedError,
    DecisionNote,
    Mode,
    PolicyViolationError,
)

from .plans import Plan
from .policing import PolicyPlan, Violation
from .values import Decision, Hold

SoftAction = Literal["warn", "shadow"]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What policies say of one call.

    Attributes:
        denial: Why it is refused; None when it may go ahead, as far as policies are concerned.
        rule_ids: The policies that it violates: with a denial those that refuse it, else all.
        action: What a call is that goes ahead all the same; None when it violates nothing.
    """

    denial: CallDeniedError | None = None
    rule_ids: tuple[str, ...] = ()
    action: SoftAction | None = None

    def refused(self) -> Decision:
        """Return the decision on a call that policies refuse, whatever the budgets would say."""
        note = DecisionNote(action="deny", rule_ids=self.rule_ids)
        return Decision(note=note, denial=self.denial)

    def join(self, decision: Decision) -> Decision:
        """Put what policies say into what the budgets say: the sharper word, and all rules."""
        note = decision.note
        if decision.denial is not None:
            note = msgspec.structs.replace(note, rule_ids=(*note.rule_ids, *self.rule_ids))
        elif self.action is not None:
            said = note.rule_ids if note.action != "allow" else ()
            action = self.action if note.action in ("allow", "shadow") else note.action
            note = msgspec.structs.replace(note, action=action, rule_ids=(*said, *self.rule_ids))
        return msgspec.structs.replace(decision, note=note)


class JudgedPlan(msgspec.Struct, frozen=True):
    """The plan of one call of which policies had something to say.

    Attributes:
        plan: The plan of calls of its kind.
        verdict: What policies say of this one.
    """

    plan: Plan
    verdict: Verdict

    def allow(self, hold: Hold, bound: Bound) -> Decision:
        """Return the decision on the call when every budget has room for it."""
        return self.verdict.join(self.plan.allow(hold, bound))

    def join(self, decision: Decision) -> Decision:
        """Return the decision when some budget has no room, or can't be asked."""
        return self.verdict.join(decision)


def judge(call: Call, plan: PolicyPlan, mode: Mode) -> Verdict:
    """Judge a call by what policies say of its kind; nothing is refused but in `enforce`."""
    violations = plan.violations
    if not violations:
        return Verdict()
    hard = [one for one in violations if one.policy.on_violation == "deny"]
    if hard and mode == "enforce":
        return Verdict(denial=_denial(call, hard[0]), rule_ids=_ids(hard))
    is_told = mode == "enforce" and any(one.policy.on_violation == "warn" for one in violations)
    return Verdict(rule_ids=_ids(violations), action="warn" if is_told else "shadow")


def _ids(violations: Sequence[Violation]) -> tuple[str, ...]:
    return tuple([one.policy.id for one in violations])


def _denial(call: Call, violation: Violation) -> CallDeniedError:
    policy = violation.policy
    text = f"policy {policy.id!r} refuses this call: {violation.text}"
    return PolicyViolationError(
        f"{policy.message} ({text})" if policy.message else text,
        rule_id=policy.id,
        message=policy.message,
        upgrade_url=policy.upgrade_url,
        call_id=call.id,
    )
