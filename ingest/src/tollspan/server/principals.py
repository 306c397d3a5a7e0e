"""Who asks: the key of a request, whose it is, and what it may."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from fastapi import Depends, Header, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.concurrency import run_in_threadpool

from tollspan.ledger.central import EVERY_TENANT, ApiKey, Scope, Tenants

from .problems import ProblemError

_REMEMBERED_SECONDS: Final = 2.0
_MOST_REMEMBERED: Final = 4_096
_bearer = HTTPBearer(auto_error=False, description="An API key: `tsp_…`")


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and for whom.

    Attributes:
        key_id: The public part of the key.
        tenant: Whose things are asked for.
        scopes: What the key may.
        is_for_all: It is a key that looks after every tenant.
    """

    key_id: str
    tenant: str
    scopes: tuple[Scope, ...]
    is_for_all: bool = False

    @property
    def actor(self) -> str:
        """Who this is in the audit log."""
        return f"key {self.key_id}"


class Authenticator:
    """Knows the keys, and remembers each for a moment: a revoked one is good that long at most."""

    def __init__(self, tenants: Tenants, clock: Callable[[], float] = time.monotonic) -> None:
        self._tenants = tenants
        self._clock = clock
        self._lock = threading.Lock()
        self._known: OrderedDict[bytes, tuple[float, ApiKey]] = OrderedDict()
        self._names: frozenset[str] = frozenset()

    async def has_tenant(self, name: str) -> bool:
        """Say whether there is such a tenant; none ever goes.

        Raises:
            LedgerUnavailableError: The books can't say.
        """
        if name not in self._names:
            found = await run_in_threadpool(self._tenants.all)
            self._names = frozenset(one.name for one in found)
        return name in self._names

    def remembered(self, secret: str) -> ApiKey | None:
        """Return the key that this is the secret of, if it was looked up a moment ago."""
        with self._lock:
            until, key = self._known.get(_digest(secret), (0.0, None))
        return key if self._clock() < until else None

    def has_known(self, secret: str) -> bool:
        """Say whether this was the secret of a key when it was looked up last, however long ago."""
        with self._lock:
            return _digest(secret) in self._known

    def whose(self, secret: str) -> ApiKey | None:
        """Look up the key that this is the secret of.

        Raises:
            LedgerUnavailableError: The books can't say.
        """
        digest, now = _digest(secret), self._clock()
        key = self._tenants.whose(secret)
        with self._lock:
            self._known.pop(digest, None)
            if key is not None:
                self._known[digest] = (now + _REMEMBERED_SECONDS, key)
            while len(self._known) > _MOST_REMEMBERED:
                self._known.popitem(last=False)
        return key


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def no_key() -> ProblemError:
    """Return what is answered where a key is needed."""
    return ProblemError(
        401, "no API key, or none that is good here: send `Authorization: Bearer tsp_…`",
        headers={"WWW-Authenticate": "Bearer"},
    )  # fmt: skip


def require(
    scope: Scope | None, *others: Scope, of_a_tenant: bool = True
) -> Callable[..., Awaitable[Principal]]:
    """Return the dependency of a route that only keys with a scope may use.

    Whose the key is was found at the door.

    Args:
        scope: Which; None for any key.
        others: Scopes that do as well.
        of_a_tenant: The route is about one tenant: a key for all has to name it, by the header
            `Tollspan-Tenant`.
    """

    async def principal(
        request: Request,
        _: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)] = None,
        tollspan_tenant: Annotated[
            str | None, Header(description="Whose things are meant; the key's own by default")
        ] = None,
    ) -> Principal:
        key: ApiKey | None = getattr(request.state, "api_key", None)
        if key is None:
            raise no_key()
        if scope is not None and not {scope, *others}.intersection(key.scopes):
            wanted = " or ".join((scope, *others))
            raise ProblemError(403, f"this key may {', '.join(key.scopes)}, but not {wanted}")
        made = _principal(key, tollspan_tenant, of_a_tenant=of_a_tenant)
        if made.is_for_all and tollspan_tenant is not None:
            authenticator: Authenticator = request.app.state.authenticator
            if not await authenticator.has_tenant(made.tenant):
                raise ProblemError(403, "there is no such tenant", type="wrong_tenant")
        return made

    return principal


def _principal(key: ApiKey, wanted: str | None, *, of_a_tenant: bool) -> Principal:
    is_for_all = key.tenant == EVERY_TENANT
    if is_for_all and wanted is None and of_a_tenant:
        raise ProblemError(400, "a key for all tenants has to name one: header Tollspan-Tenant")
    if not is_for_all and wanted not in (None, key.tenant):
        raise ProblemError(403, "this key is of another tenant", type="wrong_tenant")
    return Principal(
        key_id=key.id,
        tenant=wanted if is_for_all and wanted is not None else key.tenant,
        scopes=key.scopes,
        is_for_all=is_for_all,
    )
