"""The two facts that the ledger keeps: a usage event and a decision event, and their wire form."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, cast

import msgspec

from .call import Call
from .cost import Cost
from .outcome import Outcome
from .totals import Folded
from .units import BudgetUnit
from .usage import Usage

DecisionAction = Literal["allow", "shadow", "warn", "clamp", "reroute", "deny"]
Mode = Literal["enforce", "observe", "off"]
USAGE_TYPE = "dev.tollspan.usage.v1"
DECISION_TYPE = "dev.tollspan.decision.v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DecisionNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the gate said, as it is kept with the call.

    Attributes:
        action: `allow`; `warn` or `shadow`: a rule of this kind was exceeded; `clamp`: the call
            went out with less output than it asked for; `reroute`: with another model, and perhaps
            less output too; `deny`.
        rule_ids: The rules that spoke: those that were exceeded, else all that touched the call.
        bound_nanousd: What was held, None when nothing bounds the call.
        bound_reasons: As in `Bound`.
        is_unavailable: The authority could not be asked, `on_unavailable` decided.
        mode: `observe` or `off` while an operator has switched the gate to it.
        asked_model: The model that the caller named; None when the call went out with that one.
        clamped_from: The caller's own maximum of output; None when there was none, or it was kept.
        clamped_to: The maximum of output that the gate had sent instead; None when it set none.
    """

    action: DecisionAction = "allow"
    rule_ids: tuple[str, ...] = ()
    bound_nanousd: int | None = None
    bound_reasons: tuple[str, ...] = ()
    is_unavailable: bool = False
    mode: Mode = "enforce"
    asked_model: str | None = None
    clamped_from: int | None = None
    clamped_to: int | None = None


AdjustmentAction = Literal["raise", "set", "reset", "resolve"]


class Charge(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one call puts into one account, the account named by what it is for.

    Attributes:
        budget_id: The budget.
        scope: `""` for an undivided budget, else its dimensions and values in canonical JSON.
        period: Key of the window, `2026-11` say; `""` for a lifetime.
        unit: What the amounts count.
        posted: Spent.
        unresolved: Kept counted because nobody knows whether it was spent.
        overrun: The part of `posted` that the hold did not cover.
        drawn: What was taken out of the event's lease; None for all that is posted and unresolved.
    """

    budget_id: str
    scope: str = ""
    period: str = ""
    unit: BudgetUnit = "usd"
    posted: int = 0
    unresolved: int = 0
    overrun: int = 0
    drawn: int | None = None


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="usage"):
    """One provider call, priced: the fact that everything else is derived from.

    Attributes:
        call: The call; its id is the event's.
        decision: What the gate said before.
        outcome: How it ended.
        usage: What it used; None when the provider did no billable work.
        cost: What it cost.
        charges: What it put into each account that it touched.
        lease_id: The lease that held for it, in each of them; None when the call had a hold of its
            own, or none.
        traceparent: W3C trace context of the call's span, None without one.
        marks: What to look at: `overrun`, `suspected_duplicate`, `late`, ….
        folded: What it stands for, where it is a total of events that were folded to save room.
    """

    call: Call
    decision: DecisionNote
    outcome: Outcome
    usage: Usage | None
    cost: Cost
    charges: tuple[Charge, ...] = ()
    lease_id: str | None = None
    traceparent: str | None = None
    marks: tuple[str, ...] = ()
    folded: Folded | None = None


class WarningNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why somebody is told of a budget though nothing was refused.

    Attributes:
        reason: `share`: a share of its limit is used; `exceeded`: a call did not fit, and the rule
            only warns.
        share: Which share, a decimal such as `0.8`; None where a call did not fit.
        period: Key of the account's window, as in `Charge`.
    """

    reason: Literal["share", "exceeded"]
    share: str | None = None
    period: str = ""


class DecisionEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="decision"):
    """One refusal, for which nothing was sent and nothing was spent; or one warning of a budget.

    Attributes:
        call: The call that was refused, or after which the warning was due.
        number: Counts the decisions of one call from 0, warnings from 1; the event's id is
            `<call id>.d<number>`.
        decision: What the gate said: `deny`, or `warn` with the budget for its rule.
        error_type: `error.type` of the denial; empty for a warning.
        unit: What the account counts that refused, or that is warned of.
        limit, spent, held, asked: That account as it stood, and what the call would have held.
        scope: Whose account it was, as (dimension, value) pairs.
        traceparent: As in `UsageEvent`.
        warning: What is warned of; None of a refusal.
    """

    call: Call
    decision: DecisionNote
    error_type: str = ""
    number: int = 0
    unit: BudgetUnit = "usd"
    limit: int | None = None
    spent: int | None = None
    held: int | None = None
    asked: int | None = None
    scope: tuple[tuple[str, str | None], ...] = ()
    traceparent: str | None = None
    warning: WarningNote | None = None

    @property
    def id(self) -> str:
        """The event's id."""
        return f"{self.call.id}.d{self.number}"


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="adjustment"):
    """A posting that an operator makes: a limit raised, spending forgiven, money settled by hand.

    A budget is never edited: what it grants beyond its rule is posted as a credit, and stays on the
    record with its reason.

    Attributes:
        id: Its own.
        at_unix_ns: When it was made, nanoseconds since the epoch.
        action: What the operator asked for.
        author: Who asked, as the system says.
        reason: Why, in his words.
        charges: What it posts, which may be less than nothing: a credit.
        lease_id: The lease, or the call, whose unresolved money it settles; None for none.
        call_id: The call whose job it settles: nothing is held for that any more; None for none.
    """

    id: str
    at_unix_ns: int
    action: AdjustmentAction
    author: str
    reason: str = ""
    charges: tuple[Charge, ...]
    lease_id: str | None = None
    call_id: str | None = None


REVERSAL_SUFFIX: Final = ".r"
"""Behind the id of an event, it is the id of what takes the event back."""
REPRICING_SUFFIX: Final = ".p"
"""Behind the id of a call, with a number, it is the id of the call priced anew."""


def _posting_id(call_id: str, number: int) -> str:
    return f"{call_id}{REPRICING_SUFFIX}{number}" if number else call_id


class Repricing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="repricing"):
    """A call priced anew, after what it was counted by before was taken back.

    Attributes:
        event: The call with its new cost. It charges no account: the budgets that the call touched
            keep what they were charged then.
        number: Counts the repricings of one call from 1.
        at_unix_ns: When, nanoseconds since the epoch.
        author: Who asked for it, as the system says.
    """

    event: UsageEvent
    number: int
    at_unix_ns: int
    author: str

    @property
    def id(self) -> str:
        """Its own id."""
        return _posting_id(self.event.call.id, self.number)


class Reversal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="reversal"):
    """An event that is taken back, since another tells the same call better. Events never change.

    In every sum it counts against what it takes back: less cost, fewer tokens, one call less.

    Attributes:
        event: What is taken back, as it was stored.
        at_unix_ns: When, nanoseconds since the epoch.
        reason: In a word for machines, why.
        by: What counts instead; None for nothing.
        number: Of the repricing that is taken back; 0 for the event itself.
    """

    event: UsageEvent
    at_unix_ns: int
    reason: str
    by: str | None = None
    number: int = 0

    @property
    def id(self) -> str:
        """The reversal's own id: an event is taken back once."""
        return _posting_id(self.event.call.id, self.number) + REVERSAL_SUFFIX


Event = UsageEvent | DecisionEvent
"""What is known of a call."""
Fact = UsageEvent | DecisionEvent | Adjustment
"""What a ledger keeps."""
Entry = Fact | Reversal | Repricing
"""What a central ledger keeps, which is told of one call by several, and prices calls anew."""

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_decode_fact: msgspec.json.Decoder[Fact] = msgspec.json.Decoder(Fact)
_decode_entry: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def encode_event(event: Entry) -> bytes:
    """Write what a ledger keeps in its own form; text that is no Unicode loses what is not."""
    try:
        return _encode(event)
    except UnicodeEncodeError:
        return _encode(as_unicode(msgspec.to_builtins(event)))


def as_unicode(value: object) -> object:
    """Put `?` for lone surrogates, which JSON may name but UTF-8 can't write."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value)
        return {name: as_unicode(item) for name, item in fields.items()}
    if isinstance(value, list | tuple):
        return [as_unicode(item) for item in cast("list[object]", value)]
    return value


def decode_event(data: bytes | str) -> Event:
    """Read an event in the ledger's own form.

    Raises:
        msgspec.ValidationError: It is no event of this version; the text names the field.
    """
    return _decode.decode(data)


def decode_fact(data: bytes | str) -> Fact:
    """Read whatever a ledger keeps, in its own form.

    Raises:
        msgspec.ValidationError: It is nothing of this version; the text names the field.
    """
    return _decode_fact.decode(data)


def decode_entry(data: bytes | str) -> Entry:
    """Read whatever a central ledger keeps, in its own form.

    Raises:
        msgspec.ValidationError: It is nothing of this version; the text names the field.
    """
    return _decode_entry.decode(data)


def rfc3339(unix_ns: int) -> str:
    """Write a time in UTC with microseconds, `2026-11-22T08:00:00.000001Z` say."""
    moment = _EPOCH + timedelta(microseconds=unix_ns // 1_000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
