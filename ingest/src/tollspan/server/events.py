"""`/v1/events`: events are sent here, and can be looked at; `/v1/key`: whose a key is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from tollspan.ledger.central import CentralLedger, EventQuery, Place, StoredEvent
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    DEAD_LETTERS_HEADER,
    EVENT_MEDIA_TYPE,
    WAITING_HEADER,
    EventVerdict,
    KeyInfo,
    encode_cloud_event,
    rfc3339,
)

from .authority import Exceeding, charges_in
from .event_answers import EventsAnswer
from .limits import read_body
from .principals import Principal, require
from .problems import ProblemError, documented
from .questions import (
    LATEST_NS,
    CallParameters,
    Moment,
    Text,
    nanoseconds,
    read_cursor,
    wanted,
    write_cursor,
    wrong_cursor,
)
from .receiving import Receiver
from .rules import RulesInForce
from .schemas import CLOUD_EVENT, json_answer
from .settings import ServerSettings
from .tally import Outbox

_JSON: Final = "application/json"
_TIME: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_MOST_AT_ONCE: Final = 1_000
_DIGITS: Final = 12
_REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        BATCH_MEDIA_TYPE: {"schema": {"type": "array", "items": CLOUD_EVENT}},
        EVENT_MEDIA_TYPE: {"schema": CLOUD_EVENT},
        _JSON: {"schema": {"anyOf": [CLOUD_EVENT, {"type": "array", "items": CLOUD_EVENT}]}},
    },
}
_PAGE: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["events", "next"],
    "properties": {
        "events": {"type": "array", "items": CLOUD_EVENT},
        "next": {"type": ["string", "null"], "description": "cursor of the next page"},
    },
}


class EventParameters(CallParameters):
    """Which events are asked for; a value `unattributed` asks for those that say none."""

    since: Moment | None = Field(None, description="began then or later, RFC 3339")
    until: Moment | None = Field(None, description="began before then")
    kind: Literal["usage", "decision", "adjustment", "reversal", "repricing"] | None = None
    cost_status: Text = None
    usage_status: Text = None
    order: Literal["oldest", "newest"] = "oldest"
    cursor: Text = Field(None, description="`next` of the page before")
    limit: int = Field(100, ge=1, le=_MOST_AT_ONCE)

    def query(self) -> EventQuery:
        """Return what the ledger is asked.

        Raises:
            ProblemError: The cursor is none, or a value can't be one.
        """
        own = {"since", "until", "order", "cursor", "limit"}
        said = self.model_dump(exclude=own, exclude_none=True)
        return EventQuery(
            since_unix_ns=None if self.since is None else nanoseconds(self.since),
            until_unix_ns=None if self.until is None else nanoseconds(self.until),
            values=wanted(said),
            is_newest_first=self.order == "newest",
            after=None if self.cursor is None else _place(self.cursor),
            most=self.limit,
        )


def routes(
    ledger: CentralLedger,
    receiver: Receiver,
    settings: ServerSettings,
    rules: RulesInForce,
    exceeding: Exceeding,
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["events"])

    @router.get(
        "/key",
        responses={200: json_answer(KeyInfo, "whose the key is"), **documented(400, 401, 403)},
    )
    def key(who: Annotated[Principal, Depends(require(None, of_a_tenant=False))]) -> Response:
        """Say whose the key is that asks, and what it may."""
        return _json(msgspec.json.encode(KeyInfo(tenant=who.tenant, scopes=who.scopes)))

    @router.post(
        "/events",
        responses={
            200: json_answer(EventsAnswer, "a verdict for each event, in the batch's order"),
            **documented(400, 401, 403, 408, 413, 415),
        },
        openapi_extra={"requestBody": _REQUEST_BODY},
    )
    async def post_events(
        request: Request, who: Annotated[Principal, Depends(require("ingest"))]
    ) -> Response:
        """Take events, each once however often it is sent; they are durable when this answers."""
        kind = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
        if kind not in (BATCH_MEDIA_TYPE, EVENT_MEDIA_TYPE, _JSON):
            raise ProblemError(415, f"expected {BATCH_MEDIA_TYPE}, {EVENT_MEDIA_TYPE} or {_JSON}")
        body = await read_body(request, settings.most_bytes)
        is_batch = kind == BATCH_MEDIA_TYPE or (kind == _JSON and body.lstrip()[:1] == b"[")

        def received() -> EventsAnswer:
            etag = rules.etag(who.tenant)  # before: what is stored is not to be answered by 503
            read = receiver.read(who, body, is_batch=is_batch)
            verdicts = receiver.take(who, read, outbox_of(request.headers))
            facts = [one for one in read if not isinstance(one, EventVerdict)]
            exceeded = exceeding.after(who.tenant, charges_in(facts))
            return EventsAnswer(results=tuple(verdicts), rules=etag, exceeded=exceeded)

        return _json(msgspec.json.encode(await run_in_threadpool(received)))

    @router.get(
        "/events",
        responses={200: {"description": "a page of events", "content": {_JSON: {"schema": _PAGE}}},
                   **documented(400, 401, 403)},
    )  # fmt: skip
    def get_events(
        who: Annotated[Principal, Depends(require("read"))],
        asked: Annotated[EventParameters, Query()],
    ) -> Response:
        """Look at events, a page at a time, in the order in which the calls began."""
        found = ledger.reader.events(who.tenant, asked.query())
        following = _cursor(found[-1]) if len(found) == asked.limit else None
        events = b",".join(_written(one) for one in found)
        return _json(b'{"events":[%b],"next":%b}' % (events, json.dumps(following).encode()))

    return router


def outbox_of(headers: Mapping[str, str]) -> Outbox:
    """Return what a host tells of its outbox; what is no number says nothing."""
    return Outbox(
        waiting=_count(headers.get(WAITING_HEADER)),
        refused=_count(headers.get(DEAD_LETTERS_HEADER)),
    )


def _count(text: str | None) -> int | None:
    is_number = text is not None and text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    return int(text) if text is not None and is_number else None


def _json(body: bytes) -> Response:
    return Response(body, media_type=_JSON)


def _written(stored: StoredEvent) -> bytes:
    """Write an event as it was sent, with what the server knows of it as extension attributes."""
    more: dict[str, Any] = {"tollspanreceived": rfc3339(stored.received_unix_ns)}
    if stored.marks:
        more["tollspanmarks"] = ",".join(stored.marks)
    return encode_cloud_event(stored.fact)[:-1] + b"," + msgspec.json.encode(more)[1:]


def _cursor(stored: StoredEvent) -> str:
    at, own = stored.place
    return write_cursor(f"{at}:{own}")


def _place(cursor: str) -> Place:
    at, colon, own = read_cursor(cursor).partition(":")
    if not colon or not _TIME.fullmatch(at) or int(at) > LATEST_NS or "\0" in own:
        raise wrong_cursor()
    return int(at), own
