"""`/v1/usage`: calls, tokens and money, by any dimension and by hour, day or month."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from pydantic import Field

from tollspan.ledger.central import (
    NAMED,
    CentralLedger,
    NotKeptError,
    TooMuchError,
    UsageQuery,
    UsageRow,
    is_usage_dimension,
)
from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, documented
from tollspan.server.questions import (
    CallParameters,
    Moment,
    Text,
    nanoseconds,
    read_cursor,
    wanted,
    write_cursor,
    wrong_cursor,
)
from tollspan.usage import INPUT_BUCKETS, OUTPUT_BUCKETS, is_tag, rfc3339

MOST_DIMENSIONS: Final = 6
_FURTHEST: Final = 1_000_000
_COUNTED: Final = re.compile(r"[0-9]{1,7}", re.ASCII)
_JSON: Final = "application/json"
_COUNT: Final[dict[str, Any]] = {"type": "integer"}
_MONEY: Final[dict[str, Any]] = {"type": "string", "pattern": "^-?[0-9]+$"}
_COUNTS: Final[dict[str, Any]] = {"type": "object", "additionalProperties": _COUNT}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [*properties], "properties": properties}


_ROW: Final = {
    **_object(
        calls=_COUNT, denied=_COUNT, denied_nanousd=_MONEY, cost_nanousd=_MONEY,
        input_tokens=_COUNT, output_tokens=_COUNT, tokens=_COUNTS, quantities=_COUNTS,
        estimated=_object(calls=_COUNT, cost_nanousd=_MONEY), unpriced=_object(calls=_COUNT),
        unknown=_object(calls=_COUNT), late=_COUNT, suspected_duplicates=_COUNT,
    ),
    "description": "the group's values by dimension, `start` of its bucket, and its sums",
    "additionalProperties": {"type": ["string", "null"]},
}  # fmt: skip
_PAGE: Final = _object(
    rows={"type": "array", "items": _ROW},
    next={"type": ["string", "null"], "description": "cursor of the next page"},
)


class UsageParameters(CallParameters):
    """Which sums are asked for; a value `unattributed` asks for calls that say none."""

    group_by: str = Field(
        "", max_length=1_000,
        description=f"dimensions between commas: {', '.join(NAMED)}, tag.NAME",
    )  # fmt: skip
    bucket: Literal["hour", "day", "month"] | None = Field(None, description="of time, in UTC")
    since: Moment | None = Field(None, alias="from", description="began then or later")
    until: Moment | None = Field(None, alias="to", description="began before then")
    tag: list[Annotated[str, Field(max_length=512)]] = Field(
        [], max_length=8, description="NAME=VALUE, may be repeated"
    )
    order: Literal["time", "cost"] = Field("time", description="`cost`: the dearest first")
    cursor: Text = Field(None, description="`next` of the page before")
    limit: int = Field(1_000, ge=1, le=10_000)

    def query(self) -> UsageQuery:
        """Return what the ledger is asked.

        Raises:
            ProblemError: Something in it is wrong.
        """
        return UsageQuery(
            since_unix_ns=0 if self.since is None else nanoseconds(self.since),
            until_unix_ns=None if self.until is None else nanoseconds(self.until),
            group_by=_dimensions(self.group_by),
            bucket=self.bucket,
            where=self._where(),
            order=self.order,
            skip=0 if self.cursor is None else _place(self.cursor),
            most=self.limit,
        )

    def _where(self) -> dict[str, str | None]:
        said: dict[str, str] = self.model_dump(include={*NAMED}, exclude_none=True)
        for one in self.tag:
            name, is_pair, value = one.partition("=")
            if not is_pair or not is_tag(f"tag.{name}"):
                raise ProblemError(400, "query.tag: expected NAME=VALUE")
            said[f"tag.{name}"] = value
        return wanted(said)


def usage_routes(ledger: CentralLedger) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["reports"])

    @router.get(
        "/usage",
        responses={200: {"description": "sums, group by group",
                         "content": {_JSON: {"schema": _PAGE}}},
                   **documented(400, 401, 403)},
    )  # fmt: skip
    def get_usage(
        who: Annotated[Principal, Depends(require("read"))],
        asked: Annotated[UsageParameters, Query()],
    ) -> Response:
        """Sum calls, tokens and money by dimensions and time.

        Totals, values of one dimension by the hour, and combinations by the day are kept ready.
        What else is asked for is read from events: sessions, users, steps, tags and outcomes,
        several dimensions by the hour, and parts of an hour or of a day.
        """
        query = asked.query()
        try:
            page = ledger.usage.usage(who.tenant, query)
        except TooMuchError as error:
            kind = "not_kept" if isinstance(error, NotKeptError) else "too_much"
            raise ProblemError(400, str(error), type=kind) from None
        following = None if page.is_last else write_cursor(f"{query.skip + len(page.rows)}")
        body = {"rows": [_row(query, one) for one in page.rows], "next": following}
        return Response(msgspec.json.encode(body), media_type=_JSON)

    return router


def _row(query: UsageQuery, row: UsageRow) -> dict[str, object]:
    sums = row.sums
    start = {} if row.start_unix_ns is None else {"start": _time(row.start_unix_ns)}
    return {
        **start,
        **dict(zip(query.group_by, row.values, strict=True)),
        "calls": sums.calls,
        "denied": sums.denied,
        "denied_nanousd": str(sums.denied_nanousd),
        "cost_nanousd": str(sums.cost_nanousd),
        "input_tokens": sum(sums.tokens.get(name, 0) for name in INPUT_BUCKETS),
        "output_tokens": sum(sums.tokens.get(name, 0) for name in OUTPUT_BUCKETS),
        "tokens": sums.tokens,
        "quantities": sums.quantities,
        "estimated": {"calls": sums.estimated, "cost_nanousd": str(sums.estimated_nanousd)},
        "unpriced": {"calls": sums.unpriced},
        "unknown": {"calls": sums.unknown},
        "late": sums.late,
        "suspected_duplicates": sums.suspected_duplicates,
    }


def _time(unix_ns: int) -> str:
    """Write the start of a bucket, which has no part of a second."""
    return f"{rfc3339(unix_ns)[:19]}Z"


def _dimensions(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    wrong = next((name for name in names if not is_usage_dimension(name)), None)
    if wrong is not None:
        known = ", ".join((*NAMED, "tag.NAME"))
        raise ProblemError(400, f"query.group_by: expected dimensions, some of {known}")
    if len(names) > MOST_DIMENSIONS:
        raise ProblemError(400, f"query.group_by: expected up to {MOST_DIMENSIONS} dimensions")
    return names


def _place(cursor: str) -> int:
    text = read_cursor(cursor)
    if not _COUNTED.fullmatch(text) or int(text) > _FURTHEST:
        raise wrong_cursor()
    return int(text)
