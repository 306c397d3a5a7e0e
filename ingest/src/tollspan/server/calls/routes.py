"""`/v1/authorize` and `/v1/settle`: calls of programs in any language, before and after."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from tollspan.server.authority import JSON, problem_of, read_question
from tollspan.server.principals import Principal, require
from tollspan.server.problems import documented
from tollspan.server.schemas import json_answer, json_question
from tollspan.usage import LedgerError

from .answers import AuthorizeAnswer, CallEndAnswer
from .authorizing import Authorizer
from .questions import AuthorizeQuestion, CallEndQuestion
from .settling import CallEnds

_MOST_BYTES: Final = 64 << 10
_Caller = Annotated[Principal, Depends(require("ingest"))]
DESCRIBED: Final = (AuthorizeQuestion, AuthorizeAnswer, CallEndQuestion, CallEndAnswer)
"""The words of these routes, for the API's description."""


def routes(authorizer: Authorizer, ends: CallEnds) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1", tags=["calls"])

    @router.post(
        "/authorize",
        responses={
            200: json_answer(AuthorizeAnswer, "the decision, a denial too"),
            **documented(400, 401, 403, 408, 409, 413, 415),
        },
        openapi_extra={"requestBody": json_question(AuthorizeQuestion)},
    )
    async def authorize(request: Request, who: _Caller) -> Response:
        """Decide on a call before it is made, and hold the most that it can cost."""
        asked = await read_question(request, _MOST_BYTES, AuthorizeQuestion)

        def answered() -> bytes:
            try:
                return authorizer.authorize(who.tenant, asked)
            except LedgerError as error:
                raise problem_of(error) from None

        return Response(await run_in_threadpool(answered), media_type=JSON)

    @router.post(
        "/settle",
        responses={
            200: json_answer(CallEndAnswer, "what the call cost"),
            **documented(400, 401, 403, 404, 408, 409, 413, 415),
        },
        openapi_extra={"requestBody": json_question(CallEndQuestion)},
    )
    async def settle(request: Request, who: _Caller) -> Response:
        """Say how a call went: it is priced, stored and charged once, and its hold is freed."""
        said = await read_question(request, _MOST_BYTES, CallEndQuestion)

        def answered() -> bytes:
            try:
                return ends.settle(who.tenant, said)
            except LedgerError as error:
                raise problem_of(error) from None

        return Response(await run_in_threadpool(answered), media_type=JSON)

    return router
