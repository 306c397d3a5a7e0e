"""Whether the program asks instrumentations to make no spans here.

OpenTelemetry's own helper is not used: its module loads the propagators, and raises where
`OTEL_PROPAGATORS` names one that is not installed. The gate must not depend on that.
"""

from __future__ import annotations

from opentelemetry import context
from opentelemetry.context import get_current

_PLAIN = "suppress_instrumentation"
_KEY: str = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", _PLAIN)


def is_suppressed() -> bool:
    """Say whether `suppress_instrumentation` is in force, by either of its keys."""
    here = get_current()
    return bool(here.get(_KEY) or here.get(_PLAIN))
