"""What addresses of views have in common: whose things, within which time, and how pages follow."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tollspan.ledger.central import CentralLedger, UsageQuery, UsageSums
from tollspan.ledger.central import Place as EventPlace
from tollspan.server.questions import Text, read_cursor, write_cursor, wrong_cursor

from .ranges import RangeName, Span, named_span, span_of_days
from .visiting import Place

DEFAULT_RANGE: Final[RangeName] = "30d"
_NS: Final = 10**9
_LONGEST_TIME: Final = 19


class PlaceParameters(BaseModel):
    """Whose things are looked at; a key of one tenant says nothing."""

    model_config = ConfigDict(extra="forbid")

    tenant: Text = None


class Ranged(PlaceParameters):
    """A view within some time. Empty fields, as a form sends them, say nothing."""

    range: RangeName | None = None
    since: date | None = Field(None, alias="from")
    until: date | None = Field(None, alias="to")
    cursor: Text = None

    @model_validator(mode="before")
    @classmethod
    def _without_empty(cls, said: Any) -> Any:
        return {name: value for name, value in said.items() if value not in ("", [""], None)}

    def span(self, now: datetime) -> Span:
        """Return the time that is meant.

        Raises:
            ProblemError: It ends before it begins.
        """
        if self.since is not None or self.until is not None:
            return span_of_days(self.since, self.until, now)
        return named_span(self.range or DEFAULT_RANGE, now)

    @property
    def time_pairs(self) -> list[tuple[str, str]]:
        """How an address says this time."""
        return [
            ("range", self.range or ""),
            ("from", "" if self.since is None else self.since.isoformat()),
            ("to", "" if self.until is None else self.until.isoformat()),
        ]


def hidden_pairs(place: Place) -> list[tuple[str, str]]:
    """Return what every address says of whose things are looked at."""
    return [("tenant", place.tenant)] if place.visitor.is_for_all else []


def unix_ns(moment: datetime) -> int:
    """Return a time, without its parts of a second, in nanoseconds since the epoch."""
    return int(moment.timestamp()) * _NS


def within(span: Span, where: Mapping[str, str | None] = {}) -> UsageQuery:
    """Return the question for the sums of a time."""
    return UsageQuery(
        since_unix_ns=unix_ns(span.since), until_unix_ns=unix_ns(span.until), where=where
    )


def total_of(ledger: CentralLedger, tenant: str, query: UsageQuery) -> UsageSums:
    """Return the sums of all groups together."""
    whole = msgspec.structs.replace(query, group_by=(), bucket=None, skip=0, most=1)
    rows = ledger.usage.usage(tenant, whole).rows
    return rows[0].sums if rows else UsageSums()


def write_place(place: EventPlace) -> str:
    """Write after which event a page of events goes on."""
    at, own = place
    return write_cursor(f"{at}:{own}")


def read_place(cursor: str | None) -> EventPlace | None:
    """Read after which event a page goes on; None for the first page.

    Raises:
        ProblemError: It is no cursor of ours.
    """
    if cursor is None:
        return None
    at, colon, own = read_cursor(cursor).partition(":")
    is_time = at.isascii() and at.isdigit() and len(at) <= _LONGEST_TIME
    if not colon or not is_time or int(at) >= 1 << 63 or "\0" in own:
        raise wrong_cursor()
    return int(at), own
