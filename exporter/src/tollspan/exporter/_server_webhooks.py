"""A tenant's webhooks on an ingest server: made, looked at, sent again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from ._server_door import ServerDoor

_MOST_AT_ONCE: Final = 100
_PATH: Final = "/v1/webhooks"


class WebhookAtServer(msgspec.Struct, frozen=True, kw_only=True):
    """A target, as the API shows it.

    Attributes:
        id: `wh_` and 16 hex digits.
        url: Where.
        events: Of what it is told.
        label: What its maker called it.
        is_active: It is told.
        created_at: RFC 3339.
        failures: How many attempts failed since one succeeded.
        next_try_at: Not before then; None for at once.
        old_secret_until: Until when the secret before signs too; None without one.
        secret: By which it is signed; None where it is not shown, which is all but once.
    """

    id: str
    url: str
    events: tuple[str, ...]
    label: str = ""
    is_active: bool = True
    created_at: str
    failures: int = 0
    next_try_at: str | None = None
    old_secret_until: str | None = None
    secret: str | None = None


class DeliveryAtServer(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a target was told, or is to be told.

    Attributes:
        id: `whd_` and 32 hex digits.
        type: What it tells of.
        state: `waiting`, `delivered` or `dead`.
        created_at: RFC 3339.
        attempts: How often it was tried.
        status: What the target answered last; None for nothing.
        problem: Why the last attempt failed; empty if it did not.
        done_at: When it was delivered or given up.
        body: As it is sent.
    """

    id: str
    type: str
    state: str
    created_at: str
    attempts: int
    status: int | None = None
    problem: str = ""
    done_at: str | None = None
    body: str


class _Webhooks(msgspec.Struct, frozen=True):
    webhooks: tuple[WebhookAtServer, ...]


class _Page(msgspec.Struct, frozen=True):
    deliveries: tuple[DeliveryAtServer, ...]
    next: str | None = None


class _Replayed(msgspec.Struct, frozen=True):
    replayed: int


class ServerWebhooks:
    """The webhooks of one tenant.

    Every method raises `TollspanError` where the server can't be reached or says no.

    Args:
        door: The server.
    """

    def __init__(self, door: ServerDoor) -> None:
        self._door = door

    def add(self, url: str, events: Sequence[str], *, label: str) -> WebhookAtServer:
        """Make a target; return it with its secret, which is not shown again."""
        said = {"url": url, "events": list(events), "label": label}
        return self._door.ask_for(WebhookAtServer, "POST", _PATH, said=said)

    def all(self) -> tuple[WebhookAtServer, ...]:
        """Return the targets, by age."""
        return self._door.ask_for(_Webhooks, "GET", _PATH).webhooks

    def remove(self, webhook: str) -> None:
        """Delete a target, with what it was told."""
        self._door.ask("DELETE", _of(webhook))

    def rotate(self, webhook: str, *, keep_seconds: int) -> WebhookAtServer:
        """Give a target a new secret, shown this once; the one before signs too for so long."""
        said = {"keep_seconds": keep_seconds}
        return self._door.ask_for(WebhookAtServer, "POST", f"{_of(webhook)}/rotate", said=said)

    def deliveries(self, webhook: str, *, state: str | None = None) -> Iterator[DeliveryAtServer]:
        """Yield what a target was told or is to be told, newest first, a page at a time."""
        wanted = "" if state is None else f"&state={quote(state, safe='')}"
        cursor = ""
        while True:
            page = self._door.ask_for(
                _Page, "GET", f"{_of(webhook)}/deliveries?limit={_MOST_AT_ONCE}{wanted}{cursor}"
            )
            yield from page.deliveries
            if page.next is None:
                return
            cursor = f"&cursor={page.next}"

    def replay(self, webhook: str, deliveries: Sequence[str] | None) -> int:
        """Have deliveries sent again: these, or all that were given up; return how many."""
        said = {} if deliveries is None else {"deliveries": list(deliveries)}
        return self._door.ask_for(_Replayed, "POST", f"{_of(webhook)}/replay", said=said).replayed


def _of(webhook: str) -> str:
    return f"{_PATH}/{quote(webhook, safe='')}"
