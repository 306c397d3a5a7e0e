"""Finds other people's instrumentors in the layers around a function."""

from __future__ import annotations

_FAMILIES = (
    "opentelemetry.instrumentation.",
    "openinference.",
    "openlit.",
    "langfuse.",
    "traceloop.",
    "logfire.",
)


METRIC_FAMILIES = ("opentelemetry.instrumentation.",)
"""Those that record the conventions' metrics of a call as well: the official one, OpenLLMetry."""


def has_foreign_layer(function: object, families: tuple[str, ...] = _FAMILIES) -> bool:
    """Say whether another instrumentor has wrapped the function, over or under ours."""
    for _ in range(64):
        if function is None:
            return False
        wrapper = getattr(function, "_self_wrapper", function)
        module = getattr(wrapper, "__module__", None) or type(wrapper).__module__
        if str(module).startswith(families):
            return True
        function = getattr(function, "__wrapped__", None)
    return False
