"""Signing in with an API key, and out again. The key comes in a form's body and is not kept."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from tollspan.ledger.central import CentralLedger
from tollspan.server.limits import read_body
from tollspan.server.problems import ProblemError, too_large

from .presenting import PageRoute, away, show
from .visiting import (
    BEFORE,
    SESSION,
    SESSION_SECONDS,
    check_form,
    drop_cookie,
    form_token,
    may_look,
    read_cookie,
    set_cookie,
)

_MOST_FORM_BYTES: Final = 8_192
_MOST_FIELDS: Final = 10
_FORM_SECONDS: Final = 3_600
_FORM_TYPE: Final = "application/x-www-form-urlencoded"
_LONGEST_NEXT: Final = 2_000
_TRIES: Final = 10
_TRIES_SECONDS: Final = 60.0
_MOST_ADDRESSES: Final = 4_096
_WRONG: Final = "That is no API key that is good here."


class Tries:
    """Counts wrong keys by address; too many of them, and the address has to wait.

    Bounded: of more addresses than it can hold it forgets those that were silent longest.

    Args:
        clock: In seconds, never backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._wrong: OrderedDict[str, list[float]] = OrderedDict()

    def check(self, address: str) -> None:
        """Let an address try.

        Raises:
            ProblemError: It has shown too many wrong keys within the last minute.
        """
        now = self._clock()
        with self._lock:
            recent = [at for at in self._wrong.get(address, []) if now - at < _TRIES_SECONDS]
        if len(recent) >= _TRIES:
            wait = int(_TRIES_SECONDS - (now - recent[0])) + 1
            raise ProblemError(429, f"Too many wrong keys. Try again in {wait} s.",
                               headers={"Retry-After": str(wait)})  # fmt: skip

    def note(self, address: str) -> None:
        """Count a wrong key."""
        now = self._clock()
        with self._lock:
            kept = [at for at in self._wrong.pop(address, []) if now - at < _TRIES_SECONDS]
            self._wrong[address] = [*kept, now][-_TRIES:]
            while len(self._wrong) > _MOST_ADDRESSES:
                self._wrong.popitem(last=False)


def signing_routes(ledger: CentralLedger) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)
    tries = Tries()

    @router.get("/login")
    def login_form(
        request: Request,
        next: Annotated[str, Query(max_length=_LONGEST_NEXT)] = "/",  # noqa: A002 - of the address
    ) -> Response:
        """Ask for a key."""
        return _form(request, wanted=next)

    @router.post("/login")
    async def login(request: Request) -> Response:
        """Exchange a key for a session."""
        fields = await _fields(request)
        check_form(read_cookie(request, BEFORE), fields)
        return await run_in_threadpool(_sign_in, ledger, tries, request, fields)

    @router.post("/logout")
    async def logout(request: Request) -> Response:
        """End the session."""
        secret = read_cookie(request, SESSION)
        check_form(secret, await _fields(request))
        if secret is not None:
            await run_in_threadpool(ledger.sessions.end, secret)
        answer = away("/login")
        drop_cookie(answer, request, SESSION)
        return answer

    return router


def _sign_in(
    ledger: CentralLedger, tries: Tries, request: Request, fields: dict[str, str]
) -> Response:
    address = "" if request.client is None else request.client.host
    tries.check(address)
    wanted = fields.get("next", "/")
    key = ledger.tenants.whose(fields.get("key", "").strip())
    if key is None:
        tries.note(address)
        return _form(request, wanted=wanted, error=_WRONG)
    if not may_look(key):
        error = f"This key may {', '.join(key.scopes)}: looking takes one for read or admin."
        return _form(request, wanted=wanted, error=error)
    before = read_cookie(request, SESSION)
    if before is not None:
        ledger.sessions.end(before)
    answer = away(_own_address(wanted))
    secret = ledger.sessions.begin(key, seconds=SESSION_SECONDS)
    set_cookie(answer, request, SESSION, secret, SESSION_SECONDS)
    drop_cookie(answer, request, BEFORE)
    return answer


def _form(request: Request, *, wanted: str, error: str = "") -> Response:
    secret = read_cookie(request, BEFORE) or secrets.token_urlsafe(32)
    answer = show(
        "login", status=403 if error else 200, error=error, wanted=_own_address(wanted),
        form_token=form_token(secret),
    )  # fmt: skip
    set_cookie(answer, request, BEFORE, secret, _FORM_SECONDS)
    return answer


async def _fields(request: Request) -> dict[str, str]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _FORM_TYPE:
        raise ProblemError(415, f"expected {_FORM_TYPE}")
    body = await read_body(request, _MOST_FORM_BYTES)
    if len(body) > _MOST_FORM_BYTES:
        raise too_large(_MOST_FORM_BYTES)
    try:
        pairs = parse_qsl(body.decode("ascii"), max_num_fields=_MOST_FIELDS)
    except (UnicodeDecodeError, ValueError):
        raise ProblemError(400, "The form can't be read.") from None
    return dict(pairs)


def _own_address(said: str) -> str:
    """Return an address of this server to go to, whatever was said: never another host's."""
    is_own = said.startswith("/") and said[1:2] not in ("/", "\\") and said.isprintable()
    return said if is_own and len(said) <= _LONGEST_NEXT else "/"
