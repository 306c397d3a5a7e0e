"""What webhooks tell of: refusals, thresholds, changed rules; each written once for all targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

import msgspec

from tollspan.usage import OWNERS, DecisionEvent, Fact, event_id, rfc3339

NoticeKind = Literal["denied", "threshold", "rules_changed"]
"""A call was refused; a budget ran low, or was passed by a call that its rule lets through; the
tenant's rules are others now."""
NOTICE_KINDS: Final[tuple[NoticeKind, ...]] = get_args(NoticeKind)
_AMOUNTS: Final = ("limit", "spent", "held", "asked")


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a tenant may want to be told.

    Attributes:
        kind: What happened.
        about: Names it: nothing is told twice under one name.
        at_unix_ns: When it happened.
        data: What is known of it; amounts are strings.
    """

    kind: NoticeKind
    about: str
    at_unix_ns: int
    data: dict[str, object]

    def body(self, delivery_id: str, tenant: str) -> bytes:
        """Write what a target is sent."""
        return msgspec.json.encode(
            {
                "id": delivery_id,
                "type": self.kind,
                "tenant": tenant,
                "time": rfc3339(self.at_unix_ns),
                "data": self.data,
            }
        )


def notices_of(facts: Iterable[Fact]) -> Iterator[Notice]:
    """Yield what is told of events: each refusal, and each warning of a budget.

    Several hosts may warn of one share of one account: that has one name.
    """
    for fact in facts:
        if not isinstance(fact, DecisionEvent):
            continue
        if fact.warning is not None:
            yield _threshold(fact)
        elif fact.decision.action == "deny":
            yield Notice(
                kind="denied",
                about=f"event:{event_id(fact)}",
                at_unix_ns=fact.call.started_at_unix_ns,
                data={**_said_of(fact), "error_type": fact.error_type},
            )


def rules_changed(
    version: int,
    etag: str,
    *,
    actor: str,
    at_unix_ns: int,
    rolled_back_to: int | None = None,
) -> Notice:
    """Return what is told when a tenant's rules are others.

    Args:
        version: Of the new ones.
        etag: Of the new ones, with its quotes.
        actor: Who put them, as in the audit log.
        at_unix_ns: When.
        rolled_back_to: The version of which they are the text again; None where they are new.
    """
    return Notice(
        kind="rules_changed",
        about=f"rules:{version}",
        at_unix_ns=at_unix_ns,
        data={
            "version": version,
            "rules": etag,
            "actor": actor,
            "rolled_back_to": rolled_back_to,
        },
    )


def _threshold(fact: DecisionEvent) -> Notice:
    warning = fact.warning
    assert warning is not None
    about = f"event:{event_id(fact)}"
    if warning.share is not None:
        account = (fact.decision.rule_ids, fact.scope, warning.period, fact.unit, fact.limit)
        about = f"share:{msgspec.json.encode((*account, warning.share)).decode()}"
    return Notice(
        kind="threshold",
        about=about,
        at_unix_ns=fact.call.started_at_unix_ns,
        data={
            **_said_of(fact),
            "reason": warning.reason,
            "share": warning.share,
            "period": warning.period,
        },
    )


def _said_of(fact: DecisionEvent) -> dict[str, object]:
    call = fact.call
    owners = {name: getattr(call.attribution, name) for name in OWNERS}
    amounts = {name: getattr(fact, name) for name in _AMOUNTS}
    return {
        "event_id": event_id(fact),
        "call_id": call.id,
        "rule_ids": fact.decision.rule_ids,
        "scope": dict(fact.scope),
        "unit": "nanousd" if fact.unit == "usd" else fact.unit,
        **{name: None if amount is None else str(amount) for name, amount in amounts.items()},
        "provider": call.request.provider,
        "model": call.request.model,
        "operation": call.request.operation,
        "attribution": {name: value for name, value in owners.items() if value is not None},
    }
