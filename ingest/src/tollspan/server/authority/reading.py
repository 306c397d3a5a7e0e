"""Reads questions to the authority: what is malformed is refused, with the place named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec
from fastapi import Request, Response

from tollspan.budget import Account, LeaseLostError, TooLargeError
from tollspan.server.limits import read_body
from tollspan.server.problems import ProblemError
from tollspan.usage import LedgerError, LedgerUnavailableError

_T = TypeVar("_T")
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
        return ProblemError(503, str(error), type="authority_unavailable",
                            headers={"Retry-After": "1"})  # fmt: skip
    return ProblemError(409, str(error))
