"""`GET /metrics`, in the forms of Prometheus and OpenMetrics."""

from __future__ import annotations

from typing import Annotated, Any, Final

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Response
from prometheus_client.exposition import choose_encoder

from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, documented

from .figures import ServerMetrics

_AT_ONCE: Final = 1


def routes(metrics: ServerMetrics, *, is_open: bool) -> APIRouter:
    """Return the route.

    Args:
        metrics: What is told.
        is_open: Anybody may ask; else who has a key of all tenants, for `read` or `admin`.
    """
    router = APIRouter(tags=["health"])
    described: dict[int | str, dict[str, Any]] = {
        200: {
            "description": "all figures, in Prometheus' form or that of OpenMetrics",
            "content": {"text/plain": {"schema": {"type": "string"}}},
        }
    }
    limiter = CapacityLimiter(_AT_ONCE)

    async def answer(request: Request) -> Response:
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        text = await to_thread.run_sync(encode, metrics.registry, limiter=limiter)
        return Response(text, headers={"Content-Type": media_type, "Cache-Control": "no-store"})

    if is_open:

        @router.get("/metrics", response_class=Response, responses={**described})
        async def open_metrics(request: Request) -> Response:
            """Tell how the server does."""
            return await answer(request)

        return router

    @router.get(
        "/metrics", response_class=Response, responses={**described, **documented(401, 403)}
    )
    async def get_metrics(
        request: Request,
        who: Annotated[Principal, Depends(require("read", "admin", of_a_tenant=False))],
    ) -> Response:
        """Tell how the server does, to who has a key of all tenants."""
        if not who.is_for_all:
            raise ProblemError(403, "this tells of all tenants: a key of one may not ask")
        return await answer(request)

    return router
