"""The door of the server: who may come in, how often, how many at once, and with how much."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tollspan.ledger.central import ApiKey
from tollspan.server.principals import Authenticator, no_key
from tollspan.server.problems import ProblemError, answered, unavailable
from tollspan.server.settings import ServerSettings
from tollspan.usage import LedgerUnavailableError

from .bodies import BodyStore, ClosedError, again
from .buckets import TokenBuckets
from .turns import NoTurnError, Turns

Refuse = Callable[[Request, ProblemError], Response]
API: Final = "/v1/"
ALIVE: Final = "/healthz"
"""What is answered whatever else there is to do."""
_LARGE: Final = (f"{API}events", f"{API}traces", f"{API}rules", f"{API}leases/")
_MOST_SMALL_BYTES: Final = 256 << 10
_MOST_OF_STRANGERS_BYTES: Final = 16 << 10
_LOOK_UPS_AT_ONCE: Final = 4
_BURST_SECONDS: Final = 2.0
_STRANGERS_BURST_SECONDS: Final = 10.0
_IPV6_NETWORK: Final = 64


class DoorFigures(msgspec.Struct):
    """What the door sees.

    Attributes:
        in_flight: Requests that are under way.
        refused: Why requests were turned away → how many: `key`, `address`, `busy`, `turn`.
    """

    in_flight: int = 0
    refused: dict[str, int] = msgspec.field(default_factory=dict[str, int])

    def refuse(self, why: str) -> None:
        """Count one that was turned away."""
        self.refused[why] = self.refused.get(why, 0) + 1


class Door:
    """Middleware that keeps the server usable whatever clients do.

    A request comes in with a key that is good, or as a stranger's: under `/v1/` nobody is served
    without a key. Keys and strangers' addresses have buckets of tokens. The body is taken in whole.
    Then it waits for its tenant's turn.

    Args:
        app: What is behind it.
        authenticator: Knows the keys.
        settings: The bounds.
        figures: What it counts.
        refusals: How a path tells what is wrong; else it is the API's way.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticator: Authenticator,
        settings: ServerSettings,
        figures: DoorFigures,
        refusals: Mapping[str, Refuse],
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._settings = settings
        self._figures = figures
        self._refusals = refusals
        often, strangers = settings.requests_per_second, settings.strangers_per_second
        self._keys = TokenBuckets(per_second=often, burst=often * _BURST_SECONDS)
        burst = strangers * _STRANGERS_BURST_SECONDS
        self._strangers = TokenBuckets(per_second=strangers, burst=burst)
        self._wrong = TokenBuckets(per_second=strangers, burst=burst)
        self._turns = Turns(at_once=settings.most_of_tenant, seconds=settings.turn_seconds)
        self._bodies = BodyStore(
            seconds=settings.body_seconds, most_bytes=settings.most_buffered_bytes
        )
        self._looking_up = CapacityLimiter(_LOOK_UPS_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or say why not."""
        if scope["type"] != "http" or scope["path"] == ALIVE:
            await self._app(scope, receive, send)
            return
        try:
            await self._enter(scope, receive, send)
        except ProblemError as error:
            refuse = self._refusals.get(scope["path"], answered)
            await refuse(Request(scope), error)(scope, receive, send)
        except ClosedError:
            return

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        figures = self._figures
        if figures.in_flight >= self._settings.most_requests:
            figures.refuse("busy")
            raise _busy("the server has as many requests as it can take")
        figures.in_flight += 1
        try:
            key = await self._whose(scope)
            if key is None and scope["path"].startswith(API):
                raise no_key()
            await self._serve(key, scope, receive, send)
        finally:
            figures.in_flight -= 1

    async def _serve(self, key: ApiKey | None, scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["api_key"] = key
        body = await self._bodies.take(scope, receive, self._most_bytes(key, scope["path"]))
        try:
            async with self._turns.turn(f"tenant {key.tenant}" if key else address_of(scope)):
                await self._app(scope, again(body, receive), send)
        except NoTurnError:
            self._figures.refuse("turn")
            raise _busy("too much of this tenant is under way") from None
        finally:
            self._bodies.release(body)

    def _most_bytes(self, key: ApiKey | None, path: str) -> int:
        if key is None:
            return _MOST_OF_STRANGERS_BYTES
        most = self._settings.most_bytes
        return most if path.startswith(_LARGE) else min(most, _MOST_SMALL_BYTES)

    async def _whose(self, scope: Scope) -> ApiKey | None:
        """Return the key of a request; None for none that is good.

        Raises:
            ProblemError: Whoever asks has asked too often, or nobody knows the keys now.
        """
        secret = _secret(scope)
        if secret is None:
            self._charge(self._strangers, address_of(scope), "address")
            return None
        key = self._authenticator.remembered(secret)
        if key is None:
            key = await self._look_up(secret, scope)
        if key is not None:
            self._charge(self._keys, key.id, "key")
        return key

    async def _look_up(self, secret: str, scope: Scope) -> ApiKey | None:
        """Ask the books whose a key is; who shows wrong ones does not ask them often.

        A key that was good a while ago is looked up whatever others at its address do.
        """
        is_known = self._authenticator.has_known(secret)
        address = address_of(scope)
        if not is_known:
            self._charge(self._wrong, address, "address")
        whose = self._authenticator.whose
        try:
            key = await to_thread.run_sync(whose, secret, limiter=self._looking_up)
        except LedgerUnavailableError as error:
            raise unavailable(error) from None
        if key is not None and not is_known:
            self._wrong.give_back(address)
        return key

    def _charge(self, buckets: TokenBuckets, name: str, what: str) -> None:
        wait = buckets.take(name)
        if wait:
            self._figures.refuse(what)
            seconds = math.ceil(wait)
            raise ProblemError(
                429, f"this {what} asks too often; ask again in {seconds} s",
                headers={"Retry-After": str(seconds)},
            )  # fmt: skip


def address_of(scope: Scope) -> str:
    """Name who asks by the network address; of IPv6 by the network, which has one owner."""
    client = scope.get("client")
    host: str = client[0] if client else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address.packed, _IPV6_NETWORK), strict=False))


def _secret(scope: Scope) -> str | None:
    """Return the bearer's secret; None where none was shown."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            scheme, _, secret = value.decode("latin-1").partition(" ")
            return secret.strip() if scheme.lower() == "bearer" else None
    return None


def _busy(text: str) -> ProblemError:
    return ProblemError(503, f"{text}; ask again", headers={"Retry-After": "1"})
