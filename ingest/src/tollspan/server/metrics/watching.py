"""Watches every request: which route, how it was answered, how long that took."""

from __future__ import annotations

import time
from typing import Final

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .figures import ServerMetrics

_NONE: Final = ""
_GONE: Final = 499
"""What a request is counted as whose client was gone before it was answered."""


class Watch:
    """Middleware around all else.

    Args:
        app: What is behind it.
        metrics: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServerMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = _GONE

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.served(scope["method"], _route(scope), status, seconds)


def _route(scope: Scope) -> str:
    """Return the route of a request, for some that came no further than the door too."""
    found = getattr(scope.get("route"), "path", None)
    if isinstance(found, str):
        return found
    app: FastAPI = scope["app"]
    path: str = scope["path"]
    return path if path in app.openapi()["paths"] else _NONE
