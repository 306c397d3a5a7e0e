"""`/v1/focus`: what calls cost, as a table in FOCUS 1.2, written while it is read."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from tollspan.ledger.central import (
    CALL_KINDS,
    CentralLedger,
    EventQuery,
    NotKeptError,
    counted_call,
)
from tollspan.pricing import PriceBook
from tollspan.reports import (
    FocusCosts,
    FocusRow,
    FocusSettings,
    Grain,
    costs_of,
    focus_rows_of,
    read_kept,
    write_csv,
)
from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, documented
from tollspan.server.questions import Moment, nanoseconds
from tollspan.usage import DIMENSIONS

_AT_ONCE: Final = 1_000
_DAY_NS: Final = 86_400 * 10**9
_ROWS_AT_ONCE: Final = 500
_TEXT: Final[dict[str, Any]] = {"schema": {"type": "string"}}
_CSV: Final = "text/csv; charset=utf-8"
Text = Annotated[str | None, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]


class FocusParameters(BaseModel):
    """Which rows are asked for, and what they say that events don't."""

    model_config = ConfigDict(extra="forbid")

    since: Moment = Field(alias="from", description="calls that began then or later")
    until: Moment | None = Field(None, alias="to", description="began before then")
    by: Grain = Field("day", description="what a row is of")
    account: Text = Field(None, description="BillingAccountId; the tenant by default")
    account_name: Text = Field(None, description="BillingAccountName; the same by default")
    issuer: Text = Field(None, description="InvoiceIssuerName; each call's provider by default")
    sub_account: str = Field(
        "project", pattern=f"^({'|'.join(DIMENSIONS)})$",
        description="the dimension whose values are SubAccountId",
    )  # fmt: skip

    def settings(self, tenant: str) -> FocusSettings:
        """Return what the rows say besides what events do."""
        account = self.account or tenant
        return FocusSettings(
            billing_account_id=account,
            billing_account_name=self.account_name or account,
            invoice_issuer=self.issuer or None,
            sub_account=self.sub_account,
            grain=self.by,
        )


def focus_routes(ledger: CentralLedger, book: PriceBook) -> APIRouter:
    """Return the routes; costs are taken apart by the prices of the book."""
    router = APIRouter(prefix="/v1", tags=["reports"])

    @router.get(
        "/focus",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "CSV with a header",
                "content": {"text/csv": {"schema": {"type": "string"}}},
            },
            **documented(400, 401, 403),
        },
    )
    def get_focus(
        who: Annotated[Principal, Depends(require("read"))],
        asked: Annotated[FocusParameters, Query()],
    ) -> StreamingResponse:
        """Write costs as FOCUS 1.2 rows, one for each class of tokens."""
        query = EventQuery(
            since_unix_ns=nanoseconds(asked.since),
            until_unix_ns=None if asked.until is None else nanoseconds(asked.until),
            kinds=CALL_KINDS,
            is_only_counted=True,
            most=_AT_ONCE,
        )
        found = costs(ledger, who.tenant, query, book, is_hourly=asked.by != "day")
        try:
            first = list(islice(found, 1))  # so that a fault is an answer, not a cut
        except NotKeptError as error:
            raise ProblemError(400, str(error), type="not_kept") from None
        rows = focus_rows_of(chain(first, found), asked.settings(who.tenant))
        return StreamingResponse(
            _written(rows),
            media_type=_CSV,
            headers={"Content-Disposition": 'attachment; filename="focus.csv"'},
        )

    return router


def costs(
    ledger: CentralLedger, tenant: str, query: EventQuery, book: PriceBook, *, is_hourly: bool
) -> Iterator[FocusCosts]:
    """Yield costs of the calls of a span of time: of those that are gone, what is kept of days.

    Raises:
        NotKeptError: Hours or single calls are asked for of what is only kept by the day.
    """
    since, until = query.since_unix_ns or 0, query.until_unix_ns
    kept_from = ledger.retention.horizon.kept_from_ns
    if since < kept_from:
        before = kept_from if until is None else min(until, kept_from)
        for kept in ledger.retention.days(tenant, since, before, is_hourly=is_hourly):
            for group in kept.groups:
                yield read_kept(kept.day * _DAY_NS, group.owner, group.parts)
        query = msgspec.structs.replace(query, since_unix_ns=kept_from)
    for one in ledger.reader.all(tenant, query):
        call = counted_call(one.fact)
        if call is not None:
            yield costs_of(call, book)


def _written(rows: Iterable[FocusRow]) -> Iterator[bytes]:
    """Write rows, some at a time."""
    left = iter(rows)
    is_first = True
    while True:
        file = io.StringIO(newline="")
        count = write_csv(_some(left), file, with_header=is_first)
        if not count and not is_first:
            return
        yield file.getvalue().encode()
        is_first = False
        if count < _ROWS_AT_ONCE:
            return


def _some(rows: Iterator[FocusRow]) -> Iterator[FocusRow]:
    for _, row in zip(range(_ROWS_AT_ONCE), rows, strict=False):
        yield row
