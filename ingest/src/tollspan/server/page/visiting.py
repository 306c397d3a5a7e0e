"""Who looks at the page: the session that the browser's cookie names, and whose things are shown.

The cookie holds a random secret and nothing else. It is for this host alone, no script can read it,
and no other site's link or form sends it.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final
from urllib.parse import quote

import msgspec
from fastapi import Request, Response

from tollspan.ledger.central import EVERY_TENANT, ApiKey, CentralLedger
from tollspan.server.problems import ProblemError

from .presenting import AwayError

SESSION: Final = "tollspan"
BEFORE: Final = "tollspan-login"
"""Cookies: of who is signed in; of who is about to, for the token of that form."""
SESSION_SECONDS: Final = 12 * 3_600
FORM_FIELD: Final = "form_token"
_LOOKING: Final = frozenset({"read", "admin"})
_LONGEST_COOKIE: Final = 64


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is signed in.

    Attributes:
        key: With which.
        tenant: Whose things are looked at; None for one who looks after all and named none.
        tenants: Between which there is a choice; none for a key of one tenant.
        form_token: What forms of this session carry.
    """

    key: ApiKey
    tenant: str | None
    tenants: tuple[str, ...]
    form_token: str

    @property
    def is_for_all(self) -> bool:
        """It is a key that looks after every tenant."""
        return self.key.tenant == EVERY_TENANT


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One tenant's things, and who looks at them."""

    visitor: Visitor
    tenant: str


class Visits:
    """Tells who looks."""

    def __init__(self, ledger: CentralLedger) -> None:
        self._ledger = ledger

    def visitor(self, request: Request) -> Visitor:
        """Return who looks.

        Raises:
            AwayError: Nobody is signed in: to the page for that.
            ProblemError: The address names a tenant that this key may not see, or that is none.
        """
        secret = read_cookie(request, SESSION)
        key = None if secret is None else self._ledger.sessions.whose(secret)
        if secret is None or key is None or not may_look(key):
            raise AwayError(f"/login?next={quote(_wanted(request), safe='')}")
        asked = request.query_params.get("tenant") or None
        tenants: tuple[str, ...] = ()
        if key.tenant != EVERY_TENANT:
            if asked not in (None, key.tenant):
                raise ProblemError(403, "This key is of another tenant.", type="wrong_tenant")
            asked = key.tenant
        else:
            tenants = tuple(one.name for one in self._ledger.tenants.all())
            if asked is not None and asked not in tenants:
                raise ProblemError(404, "There is no such tenant.")
        return Visitor(key=key, tenant=asked, tenants=tenants, form_token=form_token(secret))

    def place(self, request: Request) -> Place:
        """Return who looks, and at whose things.

        Raises:
            AwayError: Nobody is signed in, or nobody's things are named: to where one chooses.
            ProblemError: See `visitor`.
        """
        visitor = self.visitor(request)
        if visitor.tenant is None:
            raise AwayError("/tenants")
        return Place(visitor=visitor, tenant=visitor.tenant)


def may_look(key: ApiKey) -> bool:
    """Say whether a key may see the page."""
    return not _LOOKING.isdisjoint(key.scopes)


def read_cookie(request: Request, name: str) -> str | None:
    """Return the secret that a cookie holds; None where there is none, or it can't be ours."""
    found = request.cookies.get(_full(request, name))
    return found if found and len(found) <= _LONGEST_COOKIE else None


def set_cookie(response: Response, request: Request, name: str, secret: str, seconds: int) -> None:
    """Have the browser keep a secret so long, for this host, out of scripts' reach."""
    response.set_cookie(
        _full(request, name), secret, max_age=seconds, path="/", httponly=True,
        secure=_is_secure(request), samesite="strict",
    )  # fmt: skip


def drop_cookie(response: Response, request: Request, name: str) -> None:
    """Have the browser forget it."""
    response.delete_cookie(
        _full(request, name), path="/", httponly=True, secure=_is_secure(request),
        samesite="strict",
    )  # fmt: skip


def _full(request: Request, name: str) -> str:
    """Name a cookie: under TLS so that no other host of the domain can set it (RFC 6265bis)."""
    return f"__Host-{name}" if _is_secure(request) else name


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def form_token(secret: str) -> str:
    """Return what forms carry, so that only our own pages can send them; it hides the secret."""
    return hashlib.sha256(f"form\0{secret}".encode("utf-8", "replace")).hexdigest()


def check_form(secret: str | None, fields: dict[str, str]) -> None:
    """Refuse a form that none of our pages to this browser has sent.

    Raises:
        ProblemError: It has not the token of the cookie.
    """
    said = fields.get(FORM_FIELD, "").encode("utf-8", "replace")
    if secret is None or not hmac.compare_digest(said, form_token(secret).encode()):
        raise ProblemError(403, "The form is too old, or of another page. Load it again.")


def _wanted(request: Request) -> str:
    """Return the address that was asked for, to come back to."""
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path
