"""A tenant's rules on an ingest server: read, put in the place of those looked at, rolled back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from ._http import Answer, HttpError
from ._server_door import ServerDoor

_YAML: Final = "application/yaml"
_NONE: Final = 204
_MADE: Final = 201
_MOST_AT_ONCE: Final = 500


class RulesAtServer(msgspec.Struct, frozen=True, kw_only=True):
    """A document of rules.

    Attributes:
        version: Counts the tenant's documents, from 1.
        etag: Of the document as it was put, with its quotes.
        text: As it was put.
    """

    version: int
    etag: str
    text: str


class RulesVersionAtServer(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the rules, as the server lists it.

    Attributes:
        version: Counts the tenant's documents, from 1.
        etag: Of the document as it was put, with its quotes.
        bytes: Length of the document.
        put_at: RFC 3339.
        put_by: Who put it, as in the audit log.
        rolled_back_to: The version of which this is the text again; None where it was new.
    """

    version: int
    etag: str
    bytes: int
    put_at: str
    put_by: str
    rolled_back_to: int | None = None


class _Page(msgspec.Struct, frozen=True):
    versions: tuple[RulesVersionAtServer, ...]
    next: str | None = None


class ServerRules:
    """The rules of one tenant.

    Every method raises `TollspanError` where the server can't be reached, and its kind
    `ServerRefusedError` where the server says no: with the status 412 where others are in force
    than those that a change is for.

    Args:
        door: The server.
    """

    def __init__(self, door: ServerDoor) -> None:
        self._door = door

    def get(self, version: int | None = None) -> RulesAtServer | None:
        """Return the rules in force, or those of a version; None where there are none in force."""
        path = "/v1/rules" if version is None else f"/v1/rules/history/{version}"
        answer = self._door.ask("GET", path, headers={"Accept": _YAML})
        if answer.status == _NONE:
            return None
        try:
            return RulesAtServer(
                version=int(answer.headers["Tollspan-Rules"]),
                etag=answer.headers["ETag"],
                text=answer.body.decode(),
            )
        except (KeyError, ValueError):
            place = self._door.place
            raise HttpError(f"{place}: its answer is none of a tollspan server") from None

    def put(self, text: str, over: RulesAtServer | None) -> tuple[RulesVersionAtServer, bool]:
        """Put rules in the place of those; None for where there are none yet.

        Returns:
            What is in force, and whether that is new: the same rules again make no new version.
        """
        return self._changed(
            self._door.ask(
                "PUT", "/v1/rules", data=text.encode(),
                headers={"Content-Type": _YAML, **_condition(over)},
            )
        )  # fmt: skip

    def roll_back(
        self, version: int, over: RulesAtServer | None
    ) -> tuple[RulesVersionAtServer, bool]:
        """Put a version's rules in force again, in the place of those; as `put`."""
        return self._changed(
            self._door.ask(
                "POST", "/v1/rules/roll-back", said={"version": version}, headers=_condition(over)
            )
        )

    def history(self) -> Iterator[RulesVersionAtServer]:
        """Yield the versions, newest first, a page at a time."""
        cursor = ""
        while True:
            page = self._door.ask_for(
                _Page, "GET", f"/v1/rules/history?limit={_MOST_AT_ONCE}{cursor}"
            )
            yield from page.versions
            if page.next is None:
                return
            cursor = f"&cursor={page.next}"

    def _changed(self, answer: Answer) -> tuple[RulesVersionAtServer, bool]:
        return self._door.read(RulesVersionAtServer, answer), answer.status == _MADE


def _condition(over: RulesAtServer | None) -> dict[str, str]:
    return {"If-None-Match": "*"} if over is None else {"If-Match": over.etag}
