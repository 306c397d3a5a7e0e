"""Which life cycle the tools of this process go through: none until tollspan is installed."""

from __future__ import annotations

from collections.abc import Callable

from tollspan.instrumentation._call import Lifecycle
from tollspan.safety import Guard

_lifecycle: Lifecycle | None = None
_get_ready: Callable[[], object] | None = None


def use_lifecycle(
    lifecycle: Lifecycle | None, get_ready: Callable[[], object] | None = None
) -> None:
    """Take tools through a life cycle from now on; None to let them pass.

    Args:
        lifecycle: The installed one.
        get_ready: Called once, before the first call of a tool.
    """
    global _lifecycle, _get_ready
    _lifecycle, _get_ready = lifecycle, get_ready


def lifecycle_in_force() -> Lifecycle | None:
    """Return the life cycle; None when tollspan is not installed."""
    global _get_ready
    if _get_ready is not None:
        get_ready, _get_ready = _get_ready, None
        with Guard("instrumentation.tools"):
            get_ready()
    return _lifecycle
