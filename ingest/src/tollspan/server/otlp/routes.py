"""`POST /v1/traces`: OTLP/HTTP, for any SDK and any Collector."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from tollspan.ledger.central import CentralLedger
from tollspan.pricing import PriceBook
from tollspan.server.charging import Assessor
from tollspan.server.limits import read_body
from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, unavailable
from tollspan.server.settings import ServerSettings
from tollspan.server.tally import Tally
from tollspan.usage import LedgerUnavailableError

from .receiving import SpanReceiver
from .replies import JSON, PROTOBUF, failure, success

PATH: Final = "/v1/traces"
_BINARY: Final[dict[str, Any]] = {"schema": {"type": "string", "format": "binary"}}
_STATUS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
}
_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "partialSuccess": {
            "type": "object",
            "required": ["rejectedSpans", "errorMessage"],
            "properties": {
                "rejectedSpans": {"type": "string"},
                "errorMessage": {"type": "string"},
            },
        }
    },
}
_REQUEST: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        PROTOBUF: _BINARY,
        JSON: {"schema": {"type": "object", "description": "ExportTraceServiceRequest"}},
    },
}
_FAILURES: Final = {
    400: "no OTLP of its encoding",
    401: "no key, or an unknown one",
    403: "the key may not",
    408: "the body came too slowly",
    413: "too large: send smaller batches",
    415: "neither protobuf nor JSON, or packed otherwise than by gzip",
    429: "the key asks too often: send it again after `Retry-After`",
    503: "nothing was stored: send it again",
}
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class _OtlpRoute(APIRoute):
    """A route whose failures are told as OTLP has them, in the encoding of the request."""

    def get_route_handler(self) -> _Handler:
        """Return what answers a request."""
        inner = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await inner(request)
            except ProblemError as error:
                return refusal(request, error)
            except LedgerUnavailableError as error:
                return refusal(request, unavailable(error))

        return answered


def refusal(request: Request, error: ProblemError) -> Response:
    """Tell what is wrong as OTLP does, in the encoding of the request."""
    media_type = _media_type(request) or JSON
    body = failure(media_type, error.status, str(error))
    return Response(body, error.status, error.headers, media_type)


def routes(
    ledger: CentralLedger,
    settings: ServerSettings,
    tally: Tally,
    assessor: Assessor,
    book: PriceBook | None = None,
) -> APIRouter:
    """Return the route.

    Args:
        ledger: Where calls go.
        settings: What is taken.
        tally: Is told what came.
        assessor: Says what calls charge.
        book: By which calls are priced; None for the prices that ship with tollspan.
    """
    receiver = SpanReceiver(ledger, settings, book or PriceBook.load(), tally, assessor)
    router = APIRouter(tags=["traces"], route_class=_OtlpRoute)

    @router.post(
        PATH,
        response_class=Response,
        responses={
            200: {
                "description": "taken; `partialSuccess` tells of spans that were not",
                "content": {PROTOBUF: _BINARY, JSON: {"schema": _ANSWER}},
            },
            **{
                status: {
                    "description": said,
                    "content": {PROTOBUF: _BINARY, JSON: {"schema": _STATUS}},
                }
                for status, said in _FAILURES.items()
            },
        },
        openapi_extra={"requestBody": _REQUEST},
    )
    async def post_traces(
        request: Request, who: Annotated[Principal, Depends(require("ingest"))]
    ) -> Response:
        """Take spans; calls to models among them are priced, and stored once each."""
        media_type = _media_type(request)
        if media_type is None:
            raise ProblemError(415, f"expected {PROTOBUF} or {JSON}")
        body = await read_body(request, settings.most_bytes)
        taken = await run_in_threadpool(receiver.receive, who, media_type, body)
        answer = success(media_type, rejected=taken.rejected, message=taken.message)
        return Response(answer, media_type=media_type)

    return router


def _media_type(request: Request) -> str | None:
    """Return the encoding of a request's body; None where it is none of OTLP's."""
    said = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return said if said in (PROTOBUF, JSON) else None
