"""What programs of any language are answered; amounts are strings of whole ones of their unit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from tollspan.budget import Balance, Decision, Leg, read_scope
from tollspan.server.authority import amount_on_the_wire, unit_on_the_wire
from tollspan.usage import (
    Call,
    CallDeniedError,
    Charge,
    DecisionAction,
    DenialSource,
    UsageEvent,
    rfc3339,
)


class HeldWords(msgspec.Struct, frozen=True, kw_only=True):
    """What a call holds in one account, and how that stands with it."""

    budget: str
    scope: dict[str, str | None]
    period: str
    unit: str
    amount: str
    limit: str
    remaining: str | None


class RecoveryWords(msgspec.Struct, frozen=True, kw_only=True):
    """What a program that was denied may do about it."""

    retryable: bool
    retry_after_seconds: float | None
    owner_action_required: bool
    docs: str


class DenialWords(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call is refused, as the SDK's exceptions say it; `type` is their `error_type`."""

    type: str
    text: str
    rule_id: str | None
    scope: dict[str, str | None]
    unit: str
    limit: str | None
    spent: str | None
    held: str | None
    asked: str | None
    remaining: str | None
    period: str | None
    resets_at: datetime | None
    message: str | None
    upgrade_url: str | None
    source: DenialSource
    recovery: RecoveryWords


class AuthorizeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is decided of a call.

    `allow`, `warn`, `shadow`: make it. `clamp`, `reroute`: make it with this `model` and this
    `max_output_tokens`, which the hold is for. `deny`: don't make it; `denial` says why. What is
    held becomes unresolved at `expires_at`, unless the call is settled by then; it can be later.
    """

    call_id: str
    hold_id: str | None
    decision: DecisionAction
    rules: tuple[str, ...]
    warnings: tuple[str, ...]
    bound_nanousd: str | None
    bound_reasons: tuple[str, ...]
    model: str
    max_output_tokens: int | None
    held: tuple[HeldWords, ...] = ()
    expires_at: str | None = None
    denial: DenialWords | None = None


class ChargeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What one account was charged."""

    budget: str
    scope: dict[str, str | None]
    period: str
    unit: str
    posted: str
    unresolved: str
    overrun: str


class CallEndAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call; `cost_nanousd` is null where nobody knows what it cost."""

    call_id: str
    status: str
    cost_nanousd: str | None = None
    cost_status: str | None = None
    charges: tuple[ChargeAnswer, ...] = ()


def authorize_answer(
    call: Call,
    decision: Decision,
    balances: Sequence[Balance | None],
    *,
    expires_at_unix_ns: int | None,
) -> AuthorizeAnswer:
    """Say what is decided.

    Args:
        call: As it is to be made.
        decision: What the gate says.
        balances: How its accounts stand, in the order of the hold's legs; None where nobody knows.
        expires_at_unix_ns: When its lease ends; None where nothing is held.
    """
    note = decision.note
    legs: Sequence[Leg] = () if decision.hold is None else decision.hold.legs
    is_over = note.action in ("warn", "shadow")
    return AuthorizeAnswer(
        call_id=call.id,
        hold_id=call.id if expires_at_unix_ns is not None else None,
        decision=note.action,
        rules=note.rule_ids,
        warnings=note.rule_ids if is_over else (),
        bound_nanousd=amount_on_the_wire(note.bound_nanousd),
        bound_reasons=note.bound_reasons,
        model=call.request.model,
        max_output_tokens=call.request.max_output_tokens,
        held=tuple([_held(*pair) for pair in zip(legs, balances, strict=True)]),
        expires_at=None if expires_at_unix_ns is None else rfc3339(expires_at_unix_ns),
        denial=None if decision.denial is None else _denial(decision.denial),
    )


def settle_answer(event: UsageEvent) -> CallEndAnswer:
    """Say what a call cost, and whom."""
    return CallEndAnswer(
        call_id=event.call.id,
        status="settled",
        cost_nanousd=amount_on_the_wire(event.cost.amount_nanousd),
        cost_status=event.cost.status,
        charges=tuple(map(_charge, event.charges)),
    )


def _held(leg: Leg, balance: Balance | None) -> HeldWords:
    account, amount = leg
    remaining = None if balance is None else account.limit - balance.counted
    return HeldWords(
        budget=account.budget_id,
        scope=dict(read_scope(account.scope)),
        period=account.period,
        unit=unit_on_the_wire(account.unit),
        amount=str(amount),
        limit=str(account.limit),
        remaining=amount_on_the_wire(remaining),
    )


def _charge(charge: Charge) -> ChargeAnswer:
    return ChargeAnswer(
        budget=charge.budget_id,
        scope=dict(read_scope(charge.scope)),
        period=charge.period,
        unit=unit_on_the_wire(charge.unit),
        posted=str(charge.posted),
        unresolved=str(charge.unresolved),
        overrun=str(charge.overrun),
    )


def _denial(denial: CallDeniedError) -> DenialWords:
    return DenialWords(
        type=denial.error_type,
        text=str(denial),
        rule_id=denial.rule_id,
        scope=dict(denial.scope),
        unit=unit_on_the_wire(denial.unit),
        limit=amount_on_the_wire(denial.limit),
        spent=amount_on_the_wire(denial.spent),
        held=amount_on_the_wire(denial.held),
        asked=amount_on_the_wire(denial.asked),
        remaining=amount_on_the_wire(denial.remaining),
        period=denial.period,
        resets_at=denial.resets_at,
        message=denial.message,
        upgrade_url=denial.upgrade_url,
        source=denial.source,
        recovery=RecoveryWords(**msgspec.structs.asdict(denial.recovery)),
    )
