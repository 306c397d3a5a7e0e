"""What is wrong with a call in the eyes of a policy, and the denial that says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tollspan.usage import BudgetUnit, Call, CallDeniedError, PolicyViolationError, Recovery

from .policies import Policy

Scope = tuple[tuple[str, str | None], ...]


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """A policy that a call violates.

    Attributes:
        policy: The policy.
        text: What is wrong, for people: `it lets no call through` say.
        kind: The denial that it is.
        scope: Whose calls are counted, as (dimension, value) pairs.
        unit, limit, spent, held, asked, resets_at, recovery: As in a denial.
    """

    policy: Policy
    text: str
    kind: type[CallDeniedError] = PolicyViolationError
    scope: Scope = ()
    unit: BudgetUnit = "usd"
    limit: int | None = None
    spent: int | None = None
    held: int | None = None
    asked: int | None = None
    resets_at: datetime | None = None
    recovery: Recovery | None = None

    @property
    def is_hard(self) -> bool:
        """Whether the policy refuses what violates it."""
        return self.policy.on_violation == "deny"

    def denial(self, call: Call) -> CallDeniedError:
        """Return the exception that the caller gets."""
        policy = self.policy
        text = f"policy {policy.id!r} refuses this call: {self.text}"
        return self.kind(
            f"{policy.message} ({text})" if policy.message else text,
            rule_id=policy.id,
            scope=self.scope,
            unit=self.unit,
            limit=self.limit,
            spent=self.spent,
            held=self.held,
            asked=self.asked,
            resets_at=self.resets_at,
            message=policy.message,
            upgrade_url=policy.upgrade_url,
            recovery=self.recovery,
            call_id=call.id,
        )


def ids_of(violations: Sequence[Violation]) -> tuple[str, ...]:
    """Name the policies that are violated."""
    return tuple([one.policy.id for one in violations])


def whose(scope: Scope) -> str:
    """Say of whom something is counted, as a part of a sentence."""
    return "".join(
        f" of {key} {value!r}" if value is not None else f" without {key}" for key, value in scope
    )
