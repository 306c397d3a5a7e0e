"""Reads what requests of all shapes have in common."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial

from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._shapes import text
from tollspan.usage import Request


def addressed(
    body: Mapping[str, object], route: Route, *, operation: str, is_stream: bool = False
) -> partial[Request]:
    """Return a request's model, tier and destination, still without its size."""
    return partial(
        Request,
        provider=route.provider,
        operation=operation,
        # A name that is no text can't be priced, but is asked for all the same.
        model=text(body.get("model")) or "",
        host=route.host,
        port=route.port,
        is_assumed=route.is_assumed,
        service_tier=text(body.get("service_tier")),
        is_stream=is_stream,
    )


def limit(value: object, *, least: int = 1) -> int | None:
    """Return a limit; None for what is not given, or for whatever a server makes of it."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return int(value)
    return None


def lowered(
    body: Mapping[str, object], names: Sequence[str], request: Request
) -> Mapping[str, object] | None:
    """Return those of a body's limits that are to be lowered to a request's; None without one."""
    most = request.max_output_tokens
    if most is None:
        return None
    return {name: most for name in names if not 0 < (limit(body.get(name)) or 0) <= most}


def choices(value: object) -> int:
    """Return how many answers are asked for; 1 for what is not given or makes no sense."""
    if isinstance(value, str):
        value = int(value[:10]) if value.isdecimal() else 1
    if isinstance(value, int | float) and math.isfinite(value):
        return max(1, math.ceil(value))
    return 1
