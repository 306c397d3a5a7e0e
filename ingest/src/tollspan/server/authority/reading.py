"""Reads questions to the authority: what is malformed is refused, with the place named."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from fastapi import Request, Response

from tollspan.budget import Account, LeaseLostError, TooLargeError
from tollspan.server.limits import read_body
from tollspan.server.problems import ProblemError
from tollspan.usage import LedgerError, LedgerUnavailableError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
_TO_OPEN = "tollspan authority open"
"""What an authority's own words advise that is not open."""
JSON = "application/json"


async def read_question(request: Request, most_bytes: int, kind: type[_T]) -> _T:
    """Read a request's body.

    Raises:
        ProblemError: It is no such question.
    """
    body = await read_body(request, most_bytes)
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(400, f"body: {error}") from None


def each_once(accounts: Sequence[Account], place: str) -> None:
    """See that each account comes once.

    Raises:
        ProblemError: One comes again.
    """
    seen: set[tuple[str, str, str, str]] = set()
    for nth, one in enumerate(accounts):
        name = (one.budget_id, one.scope, one.period, one.unit)
        if name in seen:
            raise ProblemError(
                400, f"body: the account came before - at `$.{place}[{nth}].account`"
            )
        seen.add(name)


def answer(value: object) -> Response:
    """Write an answer."""
    return Response(msgspec.json.encode(value), media_type=JSON)


def problem_of(error: LedgerError | TooLargeError) -> ProblemError:
    """Say how a question is answered that the authority does not answer."""
    if isinstance(error, TooLargeError):
        return ProblemError(400, f"body: {error}")
    if isinstance(error, LeaseLostError):
        return ProblemError(409, str(error), type="lease_lost")
    if isinstance(error, LedgerUnavailableError):
        return _unavailable(str(error))
    return ProblemError(409, str(error))


def _unavailable(why: str) -> ProblemError:
    """Say that the authority does not answer; where it is, and in which file, is the log's."""
    _log.warning("the authority can't be used: %s", why)
    said = (
        "the authority is not open: it is new, or has lost what it knew; settle what was lost "
        "anew, then run `tollspan authority open URL`"
        if _TO_OPEN in why
        else "the authority does not answer now; the server's log says why"
    )
    return ProblemError(503, said, type="authority_unavailable", headers={"Retry-After": "1"})
