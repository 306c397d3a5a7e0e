"""`/v1/leases`: what an SDK asks of the authority that holds its tenant's money.

Every question may be put again when its answer was lost: grants go by what their holder knows, what
goes back by its total, calls by their ids.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from tollspan.budget import (
    BalancesAnswer,
    BalancesQuestion,
    DoneAnswer,
    EpochAnswer,
    ExpireAnswer,
    FirstAnswer,
    FirstQuestion,
    FoldAnswer,
    FoldQuestion,
    GiveBackQuestion,
    GrantAnswer,
    GrantQuestion,
    LifeAnswer,
    LookAnswer,
    LookQuestion,
    ResolveQuestion,
    SettleAnswer,
    SettleQuestion,
    SharedAuthority,
    TooLargeError,
    TouchAnswer,
    TouchQuestion,
    UnresolvedAnswer,
    allowed_order,
    balance_words,
    grant_answer,
    look_answer,
    unresolved_answer,
)
from tollspan.server.principals import Principal, require
from tollspan.server.problems import documented
from tollspan.server.schemas import json_answer, json_question
from tollspan.server.settings import ServerSettings
from tollspan.usage import LedgerError

from .crediting import settle
from .noting import Noted, resolving_noted
from .reading import answer, each_once, problem_of, read_question
from .standing import Authorities

_Q = TypeVar("_Q")
_FAILURES: Final = (400, 401, 403, 408, 409, 413, 415)
_Since = Annotated[int, Query(ge=0, le=(1 << 63) - 1, description="Unix nanoseconds")]
Does = Callable[[Authorities, Principal, _Q], msgspec.Struct]


def routes(
    authorities: Authorities, settings: ServerSettings, fill: Callable[[str], None]
) -> APIRouter:
    """Return the routes.

    Args:
        authorities: Are asked.
        settings: What is taken.
        fill: Tells a tenant's authority what it has lost, before it is opened again.
    """
    router = APIRouter(prefix="/v1/leases", tags=["leases"])
    asking = _Asking(router, authorities, settings)
    asking.add("grant", GrantQuestion, GrantAnswer, _of_tenant(_grant))
    asking.add("give-back", GiveBackQuestion, LifeAnswer, _of_tenant(_give_back))
    asking.add("settle", SettleQuestion, SettleAnswer, settle)
    asking.add("touch", TouchQuestion, TouchAnswer, _of_tenant(_touch))
    asking.add("balances", BalancesQuestion, BalancesAnswer, _of_tenant(_balances))
    asking.add("first", FirstQuestion, FirstAnswer, _of_tenant(_first))
    asking.add("look", LookQuestion, LookAnswer, _of_tenant(_look))
    asking.add("fold", FoldQuestion, FoldAnswer, _of_tenant(_fold))
    resolve = _of_tenant(_resolve)
    asking.add(
        "resolve", ResolveQuestion, DoneAnswer, resolve, scope="admin", noted=resolving_noted
    )
    _add_epochs(router, authorities, fill)
    _add_ends(router, authorities)
    return router


class _Asking:
    """Makes the routes of questions that have a body."""

    def __init__(
        self, router: APIRouter, authorities: Authorities, settings: ServerSettings
    ) -> None:
        self._router = router
        self._authorities = authorities
        self._most_bytes = settings.most_bytes

    def add(
        self,
        name: str,
        question: type[_Q],
        answers: type[msgspec.Struct],
        does: Does[_Q],
        *,
        scope: Any = "ingest",
        noted: Callable[[_Q], Iterable[Noted]] = lambda _: (),
    ) -> None:
        """Add a route: reads the question, has it answered for whoever asks, and that noted."""
        what = " ".join((question.__doc__ or "").split())
        asker = Depends(require(scope))  # FastAPI can't see it in an annotation

        async def ask(request: Request, who: Principal = asker) -> Response:
            asked = await read_question(request, self._most_bytes, question)

            def answered() -> msgspec.Struct:
                found = does(self._authorities, who, asked)
                for one in noted(asked):
                    self._authorities.note_once(
                        who.tenant, who.actor, one.action, one.subject, **one.details
                    )
                return found

            return await run_in_threadpool(_answered, answered)

        self._router.add_api_route(
            f"/{name}",
            ask,
            methods=["POST"],
            name=name.replace("-", "_"),
            description=what,
            responses={200: json_answer(answers, "the answer"), **documented(*_FAILURES)},
            openapi_extra={"requestBody": json_question(question)},
        )


def _answered(ask: Callable[[], msgspec.Struct]) -> Response:
    """Answer a question.

    Raises:
        ProblemError: The authority does not, or the question makes no sense.
    """
    try:
        return answer(ask())
    except (LedgerError, TooLargeError) as error:
        raise problem_of(error) from None


def _of_tenant(does: Callable[[SharedAuthority, _Q], msgspec.Struct]) -> Does[_Q]:
    """Have a question answered by the authority of whoever asks."""

    def answered(authorities: Authorities, who: Principal, asked: _Q) -> msgspec.Struct:
        return does(authorities.of(who.tenant), asked)

    return answered


def _grant(authority: SharedAuthority, asked: GrantQuestion) -> GrantAnswer:
    wants = asked.values()
    each_once([one.account for one in wants], "wants")
    return grant_answer(authority.grant(asked.lease.value(), wants))


def _give_back(authority: SharedAuthority, asked: GiveBackQuestion) -> LifeAnswer:
    parts = asked.values()
    each_once([one.account for one in parts], "parts")
    return LifeAnswer(life_seconds=authority.give_back(asked.lease.value(), parts))


def _touch(authority: SharedAuthority, asked: TouchQuestion) -> TouchAnswer:
    return TouchAnswer(period=authority.touch(asked.value()))


def _balances(authority: SharedAuthority, asked: BalancesQuestion) -> BalancesAnswer:
    found = authority.balances([one.value() for one in asked.accounts])
    return BalancesAnswer(balances=tuple([balance_words(one) for one in found]))


def _first(authority: SharedAuthority, asked: FirstQuestion) -> FirstAnswer:
    return FirstAnswer(is_first=authority.is_first(asked.account.value(), Decimal(asked.share)))


def _look(authority: SharedAuthority, asked: LookQuestion) -> LookAnswer:
    return look_answer(authority.look(asked.most))


def _fold(authority: SharedAuthority, asked: FoldQuestion) -> FoldAnswer:
    order = allowed_order(asked.value(), authority.look(0).now_unix_ns)
    return FoldAnswer(is_done=authority.fold(order))


def _resolve(authority: SharedAuthority, asked: ResolveQuestion) -> DoneAnswer:
    authority.resolve(asked.lease_id, asked.account.value(), spent=asked.amount())
    return DoneAnswer()


def _add_epochs(router: APIRouter, authorities: Authorities, fill: Callable[[str], None]) -> None:
    described = {200: json_answer(EpochAnswer, "the epoch"), **documented(401, 403)}

    @router.get("/epoch", responses=described)
    def epoch(who: Annotated[Principal, Depends(require("ingest"))]) -> Response:
        """Name the epoch in which the authority grants; none while it is not open."""
        return _answered(lambda: _epoch(authorities.of(who.tenant).epoch()))

    @router.post("/epoch", responses=described)
    def open_epoch(who: Annotated[Principal, Depends(require("admin"))]) -> Response:
        """Open the authority in a new epoch: leases of older ones are over.

        One that has lost what it knew is told before what the books say; while that takes, 503.
        """

        def opened() -> EpochAnswer:
            fill(who.tenant)
            return _epoch(authorities.open(who.tenant, actor=who.actor))

        return _answered(opened)


def _epoch(name: str | None) -> EpochAnswer:
    return EpochAnswer(epoch=name, clock_unix_ns=str(time.time_ns()))


def _add_ends(router: APIRouter, authorities: Authorities) -> None:
    failures: Sequence[int] = (400, 401, 403)

    @router.post(
        "/expire",
        responses={200: json_answer(ExpireAnswer, "how many"), **documented(*failures)},
    )
    def expire(who: Annotated[Principal, Depends(require("ingest"))]) -> Response:
        """End the leases that are over, and take for spent what is beyond the horizon."""
        return _answered(lambda: ExpireAnswer(ended=authorities.of(who.tenant).expire()))

    @router.get(
        "/unresolved",
        responses={200: json_answer(UnresolvedAnswer, "oldest first"), **documented(*failures)},
    )
    def unresolved(
        who: Annotated[Principal, Depends(require("ingest"))], since_unix_ns: _Since = 0
    ) -> Response:
        """Say what leases leave open that ended since then."""
        return _answered(
            lambda: unresolved_answer(
                authorities.of(who.tenant).unresolved(since_unix_ns=since_unix_ns)
            )
        )


DESCRIBED: Final = (
    BalancesAnswer,
    BalancesQuestion,
    EpochAnswer,
    ExpireAnswer,
    FirstAnswer,
    FirstQuestion,
    FoldAnswer,
    FoldQuestion,
    GiveBackQuestion,
    GrantAnswer,
    GrantQuestion,
    LifeAnswer,
    LookAnswer,
    LookQuestion,
    ResolveQuestion,
    SettleAnswer,
    SettleQuestion,
    TouchAnswer,
    TouchQuestion,
    UnresolvedAnswer,
    DoneAnswer,
)
"""The words of these routes, for the API's description."""
