"""What goes wrong with a request, and how that is answered: `{"error": {"type", "message"}}`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from tollspan.usage import LedgerUnavailableError, TollspanError

from .complaints import Complaint

_log = logging.getLogger(__name__)
_TYPES: Final[Mapping[int, str]] = {
    400: "invalid",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "too_slow",
    409: "conflict",
    412: "precondition_failed",
    413: "too_large",
    415: "unsupported_media_type",
    428: "precondition_required",
    429: "rate_limited",
    503: "unavailable",
}
_AT_THE_DOOR: Final[Mapping[int, str]] = {
    429: "rate limited: the key, or the address, asks too often",
    503: "unavailable: the server has too much to do, or its database is away",
}
_INVALID: Final = 400
_NO_METHOD: Final = 405
_UNAVAILABLE: Final = 503
_BROKEN: Final = 500
_complaint: Final = Complaint(_log, "the ledger can't be used")


class ProblemPlace(BaseModel):
    """One of several things that are wrong in a document; `line` counts from 1."""

    line: int | None = None
    message: str


class ProblemDetails(BaseModel):
    """What is wrong, for machines and for people."""

    type: str
    message: str
    problems: list[ProblemPlace] | None = None


class Problem(BaseModel):
    """The body of every answer that is none of success."""

    error: ProblemDetails


class ProblemError(TollspanError):
    """A request can't be served.

    Attributes:
        status: HTTP's.
        type: In a word for machines.
        headers: To send with it.
        places: All that is wrong in a document, where it is one.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        type: str | None = None,  # noqa: A002 - the wire's word
        headers: Mapping[str, str] | None = None,
        places: Sequence[ProblemPlace] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = type or _TYPES[status]
        self.headers = dict(headers or {})
        self.places = places


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Say for the API's description how a route may fail."""
    return {
        status: {"model": Problem, "description": _TYPES[status].replace("_", " ")}
        for status in statuses
    }


def refused_at_the_door() -> dict[str, dict[str, Any]]:
    """Say for the API's description how any request may fail, whatever it asks."""
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    after = {"description": "in seconds", "schema": {"type": "integer", "minimum": 0}}
    return {
        str(status): {
            "description": description,
            "headers": {"Retry-After": after},
            "content": {"application/json": problem},
        }
        for status, description in _AT_THE_DOOR.items()
    }


def answer_problems(app: FastAPI) -> None:
    """Have the app answer whatever goes wrong in one way."""

    async def problem(request: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)
        return answered(request, error)

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        kind = _TYPES.get(error.status_code, "error")
        headers = dict(error.headers or {})
        allowed = _allowed(request) if error.status_code == _NO_METHOD else ()
        if allowed:  # Starlette names the methods of one route alone
            headers["Allow"] = ", ".join(sorted(allowed))
        return _answer(error.status_code, kind, str(error.detail), headers)

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _answer(_INVALID, _TYPES[_INVALID], _first_of(error), {})

    async def away(request: Request, error: Exception) -> Response:
        assert isinstance(error, LedgerUnavailableError)
        return answered(request, unavailable(error))

    async def broken(_: Request, error: Exception) -> JSONResponse:
        _log.error("a request failed: %s", type(error).__name__)
        return _answer(_BROKEN, "internal", "the server failed; its log says more", {})

    app.add_exception_handler(ProblemError, problem)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(LedgerUnavailableError, away)
    app.add_exception_handler(Exception, broken)


def _allowed(request: Request) -> set[str]:
    """Return the methods with which a path may be asked, as the description has them."""
    app: FastAPI = request.app
    path = getattr(request.scope.get("route"), "path", None)
    return {method.upper() for method in app.openapi()["paths"].get(path, ())}


def answered(_: Request, error: ProblemError) -> Response:
    """Answer with what is wrong."""
    return _answer(error.status, error.type, str(error), error.headers, error.places)


def unavailable(error: LedgerUnavailableError) -> ProblemError:
    """Return what is answered where the ledger can't be used; the log says why, once a minute.

    An answer of the database that was lost may have been that all is stored.
    """
    _complaint.make(error)
    text = f"{error.reason}: send it again, what was stored counts once"
    return ProblemError(_UNAVAILABLE, text, headers={"Retry-After": "2"})


def too_large(most_bytes: int) -> ProblemError:
    """Return what a body that is too large is answered with."""
    return ProblemError(413, f"the body has more than {most_bytes:,} bytes; send less at once",
                        headers={"Connection": "close"})  # fmt: skip


def _first_of(error: RequestValidationError) -> str:
    """Name the place and what is wrong with it; never what was sent there."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}"


def _answer(
    status: int,
    kind: str,
    message: str,
    headers: dict[str, str],
    places: Sequence[ProblemPlace] | None = None,
) -> JSONResponse:
    found = None if places is None else list(places)
    body = Problem(error=ProblemDetails(type=kind, message=message, problems=found))
    return JSONResponse(body.model_dump(exclude_none=True), status, headers)
