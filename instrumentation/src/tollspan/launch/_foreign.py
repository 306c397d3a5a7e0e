"""Puts the span processor into tracer providers that others make spans with.

A provider that only our spans come from does without: nothing of theirs can come, and each
processor costs every span.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import wrapt
from opentelemetry import trace

from tollspan.safety import Guard
from tollspan.usage import OURS

if TYPE_CHECKING:
    from tollspan.processor import Door

_SDK = "opentelemetry.sdk.trace"
_guard = Guard("launch.processor")
_source: list[Callable[[], Door | None]] = []


def door_in_force() -> Door | None:
    """Return the door of what is installed; None without one."""
    return _source[0]() if _source else None


def watch_providers(door: Callable[[], Door | None]) -> None:
    """Have the spans of others pass the door, whatever provider they come from, and whenever."""
    is_hooked = bool(_source)
    _source[:] = [door]
    if not is_hooked:
        wrapt.register_post_import_hook(_hook, _SDK)
    provider = trace.get_tracer_provider()
    sdk = sys.modules.get(_SDK)
    if sdk is not None and isinstance(provider, sdk.TracerProvider):
        with _guard:
            tracers = cast("dict[object, object] | None", getattr(provider, "_tracers", None))
            if tracers is None or any(_is_foreign(tracer) for tracer in tracers.values()):
                _adopt(provider)


def _is_foreign(tracer: object) -> bool:
    scope = getattr(tracer, "_instrumentation_scope", None)
    return getattr(scope, "name", None) != OURS


def _adopt(provider: Any) -> None:
    from tollspan.processor import BudgetSpanProcessor, attach  # noqa: PLC0415 - they need the SDK

    attach(provider, BudgetSpanProcessor(door_in_force))


def _hook(module: Any) -> None:
    """Have each provider adopted when somebody else asks it for a tracer."""

    def get_tracer(
        wrapped: Callable[..., object], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> object:
        name = args[0] if args else kwargs.get("instrumenting_module_name")
        if name != OURS and door_in_force() is not None:
            with _guard:
                _adopt(instance)
        return wrapped(*args, **kwargs)

    owner = module.TracerProvider
    owner.get_tracer = wrapt.FunctionWrapper(owner.get_tracer, get_tracer)
