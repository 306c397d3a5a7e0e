"""The style sheet, the script and the picture of the page: read once, named by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final

import msgspec
from fastapi import APIRouter, Response

from tollspan.server.problems import ProblemError

_TYPES: Final[Mapping[str, str]] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Asset(msgspec.Struct, frozen=True, kw_only=True):
    """One file that pages refer to."""

    body: bytes
    media_type: str
    digest: str


class Assets:
    """All of them, by name."""

    def __init__(self) -> None:
        folder = files("tollspan.server.page") / "static"
        self._found: dict[str, Asset] = {}
        for name, media_type in _TYPES.items():
            body = (folder / name).read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:16]
            self._found[name] = Asset(body=body, media_type=media_type, digest=digest)

    def address(self, name: str) -> str:
        """Return where a file is: another place after each change, so browsers may keep it."""
        return f"/static/{self._found[name].digest}/{name}"

    def routes(self) -> APIRouter:
        """Return the route that serves them, to anybody."""
        router = APIRouter(include_in_schema=False)

        @router.get("/static/{digest}/{name}")
        def asset(digest: str, name: str) -> Response:
            """Serve a file."""
            found = self._found.get(name)
            if found is None or found.digest != digest:
                raise ProblemError(404, "there is no such file")
            return Response(found.body, headers=dict(_HEADERS), media_type=found.media_type)

        return router


ASSETS: Final = Assets()
