"""`/v1/rules`: the tenant's rules, to be read by its hosts, put, looked up and rolled back."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from tollspan.ledger.central import CentralLedger, RulesDocument, RulesHead
from tollspan.server.limits import read_body
from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, documented
from tollspan.server.questions import Text, read_cursor, write_cursor, wrong_cursor
from tollspan.server.settings import ServerSettings
from tollspan.usage import ConfigError

from .answers import (
    DOCUMENT_ANSWERS,
    DOCUMENT_BODY,
    LAST_VERSION,
    HistoryAnswer,
    RollBack,
    VersionAnswer,
    version_answer,
)
from .as_json import as_json
from .conditions import Form, etag_in, expectation, form_wanted, is_unchanged
from .in_force import RulesInForce, etag_of
from .reading import JSON_TYPE, YAML_TYPES, check_rules, read_text

_NONE: Final = 204
_UNCHANGED: Final = 304
_CACHING: Final = {"Cache-Control": "no-cache, private", "Vary": "Accept, Authorization"}
_VERSION: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_Reader = Annotated[Principal, Depends(require("read", "ingest", "admin"))]
_Admin = Annotated[Principal, Depends(require("admin"))]
_Version = Annotated[int, Path(ge=1, le=LAST_VERSION)]


class HistoryParameters(BaseModel):
    """Which versions are asked for."""

    model_config = ConfigDict(extra="forbid")

    cursor: Text = Field(None, description="`next` of the page before")
    limit: int = Field(100, ge=1, le=1_000)


def routes(ledger: CentralLedger, rules: RulesInForce, settings: ServerSettings) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/rules", tags=["rules"])
    changer = _Changer(ledger, rules)

    @router.get(
        "",
        responses={
            **DOCUMENT_ANSWERS,
            204: {"description": "the tenant has no rules"},
            **documented(400, 401, 403, 406),
        },
    )
    def get_rules(request: Request, who: _Reader) -> Response:
        """Return the rules in force, as JSON; as they were put with `Accept: application/yaml`."""
        return _document(request, ledger, who.tenant, ledger.rules.head(who.tenant))

    @router.put(
        "",
        responses={
            201: {"model": VersionAnswer, "description": "they are in force"},
            **documented(400, 401, 403, 404, 408, 412, 413, 415),
        },
        response_model=VersionAnswer,
        response_description="they were in force already",
        openapi_extra={"requestBody": DOCUMENT_BODY},
    )
    async def put_rules(request: Request, who: _Admin) -> Response:
        """Put rules in force, in YAML or JSON; with `If-Match` only in the place of those named."""
        is_expected = expectation(request)
        body = await read_body(request, settings.most_rules_bytes)
        kind = request.headers.get("content-type", YAML_TYPES[0])
        return await run_in_threadpool(changer.put, who, body, kind, is_expected)

    _add_history(router, ledger)

    @router.post(
        "/roll-back",
        responses={
            201: {"model": VersionAnswer, "description": "they are in force, as a new version"},
            **documented(400, 401, 403, 404, 408, 412, 413),
        },
        response_model=VersionAnswer,
        response_description="they were in force already",
    )
    def roll_back(request: Request, who: _Admin, wanted: RollBack) -> Response:
        """Put the rules of an older version in force again."""
        return changer.roll_back(who, wanted.version, expectation(request))

    return router


def _add_history(router: APIRouter, ledger: CentralLedger) -> None:
    @router.get("/history", responses=documented(400, 401, 403))
    def history(
        who: Annotated[Principal, Depends(require("read", "admin"))],
        asked: Annotated[HistoryParameters, Query()],
    ) -> HistoryAnswer:
        """List the versions of the rules, the newest first."""
        before = None if asked.cursor is None else _version(asked.cursor)
        found = ledger.rules.history(who.tenant, before=before, most=asked.limit)
        is_full = len(found) == asked.limit and found[-1].version > 1
        return HistoryAnswer(
            versions=[version_answer(one) for one in found],
            next=write_cursor(str(found[-1].version)) if is_full else None,
        )

    @router.get(
        "/history/{version}",
        responses={**DOCUMENT_ANSWERS, **documented(400, 401, 403, 404, 406)},
    )
    def version(
        request: Request,
        who: Annotated[Principal, Depends(require("read", "admin"))],
        version: _Version,
    ) -> Response:
        """Return the rules of a version, in the forms of those in force."""
        found = ledger.rules.document(who.tenant, version)
        if found is None:
            raise _no_version(version)
        return _document(request, ledger, who.tenant, found)


def _document(
    request: Request, ledger: CentralLedger, tenant: str, head: RulesHead | None
) -> Response:
    """Answer with a document in the form that is wanted, unless whoever asks has it."""
    form = form_wanted(request)
    if head is None:
        return Response(status_code=_NONE, headers=_CACHING)
    if is_unchanged(request, etag_in(form, head)):
        return Response(status_code=_UNCHANGED, headers=_naming(form, head))
    found = head if isinstance(head, RulesDocument) else ledger.rules.document(tenant)
    if found is None:
        return Response(status_code=_NONE, headers=_CACHING)
    headers = _naming(form, found)
    if form == "json":
        return Response(as_json(found.text), headers=headers, media_type=JSON_TYPE)
    return Response(found.text.encode(), headers=headers, media_type=YAML_TYPES[0])


def _naming(form: Form, head: RulesHead) -> dict[str, str]:
    return {**_CACHING, "ETag": etag_in(form, head), "Tollspan-Rules": str(head.version)}


class _Changer:
    """Puts documents in force that can be used."""

    def __init__(self, ledger: CentralLedger, rules: RulesInForce) -> None:
        self._ledger = ledger
        self._rules = rules

    def put(
        self,
        who: Principal,
        body: bytes,
        content_type: str,
        is_expected: Callable[[RulesHead | None], bool],
    ) -> Response:
        """Put what was sent.

        Raises:
            ProblemError: It can't be used, or is not meant for what is in force.
        """
        text = read_text(body, content_type)
        check_rules(text)
        return self._store(who, text, is_expected, None)

    def roll_back(
        self, who: Principal, version: int, is_expected: Callable[[RulesHead | None], bool]
    ) -> Response:
        """Put what was in force once.

        Raises:
            ProblemError: There is no such version, or it can't be used any more.
        """
        found = self._ledger.rules.document(who.tenant, version)
        if found is None:
            raise _no_version(version)
        check_rules(found.text)
        return self._store(who, found.text, is_expected, version)

    def _store(
        self,
        who: Principal,
        text: str,
        is_expected: Callable[[RulesHead | None], bool],
        rolled_back_to: int | None,
    ) -> Response:
        before: list[RulesHead | None] = []

        def looked(head: RulesHead | None) -> bool:
            before.append(head)
            return is_expected(head)

        try:
            made = self._ledger.rules.put(
                who.tenant, text, actor=who.actor, is_expected=looked, rolled_back_to=rolled_back_to
            )
        except ConfigError as error:
            raise ProblemError(404, str(error)) from None
        if made is None:
            raise _not_expected(before[-1])
        self._rules.forget(who.tenant)
        is_new = before[-1] is None or before[-1].version != made.version
        return JSONResponse(
            version_answer(made).model_dump(), 201 if is_new else 200, {"ETag": etag_of(made)}
        )


def _not_expected(head: RulesHead | None) -> ProblemError:
    if head is None:
        return ProblemError(412, "there are no rules in force")
    return ProblemError(
        412, f"version {head.version} is in force, with ETag {etag_of(head)}: look at it first",
        headers={"ETag": etag_of(head)},
    )  # fmt: skip


def _no_version(version: int) -> ProblemError:
    return ProblemError(404, f"there is no version {version} of the rules, or it is kept no more")


def _version(cursor: str) -> int:
    text = read_cursor(cursor)
    if not _VERSION.fullmatch(text):
        raise wrong_cursor()
    return int(text)
