"""`/v1/audit`: a tenant's admins see who changed what, when."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from tollspan.ledger.central import EVERY_TENANT, AuditEntry, CentralLedger
from tollspan.usage import rfc3339

from .principals import Principal, require
from .problems import documented
from .questions import Moment, Text, nanoseconds, read_cursor, write_cursor, wrong_cursor

_MOST_AT_ONCE = 1_000
_LONGEST_NUMBER = 18


class AuditParameters(BaseModel):
    """Which entries are asked for."""

    model_config = ConfigDict(extra="forbid")

    since: Moment | None = Field(None, description="then or later, RFC 3339")
    until: Moment | None = Field(None, description="before then")
    action: str | None = Field(
        None, pattern=r"^[a-z_]{1,32}(\.[a-z_]{1,32})?$",
        description="only such: `key.created`, or `key` for all of keys",
    )  # fmt: skip
    order: Literal["oldest", "newest"] = "oldest"
    cursor: Text = Field(None, description="`next` of the page before")
    limit: int = Field(100, ge=1, le=_MOST_AT_ONCE)


class AuditAnswerEntry(BaseModel):
    """One change."""

    number: int = Field(description="counts the changes of all tenants")
    at: str = Field(description="RFC 3339")
    tenant: str = Field(description="whose things were changed; `*` for those of all")
    actor: str = Field(description="who: a key by its id, or a person as his machine names him")
    action: str = Field(description="what: `rules.changed`, `key.created`, …")
    subject: str = Field(description="of what")
    details: dict[str, Any]


class AuditAnswer(BaseModel):
    """A page of changes."""

    entries: list[AuditAnswerEntry]
    next: str | None = Field(description="cursor of the next page")


def routes(ledger: CentralLedger) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["audit"])

    @router.get("/audit", responses=documented(400, 401, 403))
    def get_audit(
        who: Annotated[Principal, Depends(require("admin", of_a_tenant=False))],
        asked: Annotated[AuditParameters, Query()],
    ) -> AuditAnswer:
        """List who changed what: of the key's tenant; of all for a key that looks after all."""
        found = ledger.audit.entries(
            None if who.is_for_all and who.tenant == EVERY_TENANT else who.tenant,
            after=None if asked.cursor is None else _number(asked.cursor),
            since_unix_ns=None if asked.since is None else nanoseconds(asked.since),
            until_unix_ns=None if asked.until is None else nanoseconds(asked.until),
            action=asked.action,
            is_newest_first=asked.order == "newest",
            most=asked.limit,
        )
        is_full = len(found) == asked.limit
        return AuditAnswer(
            entries=[_shown(one) for one in found],
            next=write_cursor(str(found[-1].number)) if is_full else None,
        )

    return router


def _shown(one: AuditEntry) -> AuditAnswerEntry:
    return AuditAnswerEntry(
        number=one.number, at=rfc3339(one.at_unix_ns), tenant=one.tenant, actor=one.actor,
        action=one.action, subject=one.subject, details=one.details,
    )  # fmt: skip


def _number(cursor: str) -> int:
    text = read_cursor(cursor)
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise wrong_cursor()
    return int(text)
