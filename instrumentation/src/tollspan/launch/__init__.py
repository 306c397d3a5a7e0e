"""Starts tollspan: every way in ends in one idempotent `install`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # upstream's file hides from mypy
    BaseInstrumentor,
)

from tollspan.instrumentation import LISTENERS

from ._install import SDKS, Installed, install, install_or_raise, uninstall
from ._prices import PINNED_BOOK, UPDATED_BOOK, book_in_force, load_prices
from ._run import check_or_raise, run_program
from ._settings import SETTINGS, Setting, Settings, read_settings

__all__ = [
    "PINNED_BOOK",
    "SDKS",
    "SETTINGS",
    "UPDATED_BOOK",
    "AnthropicInstrumentor",
    "Installed",
    "MCPInstrumentor",
    "OpenAIInstrumentor",
    "Setting",
    "Settings",
    "book_in_force",
    "check_or_raise",
    "install",
    "install_or_raise",
    "load_prices",
    "on_deny",
    "on_usage",
    "on_warn",
    "read_settings",
    "remove_callback",
    "run_program",
    "uninstall",
]


on_usage = LISTENERS.on_usage
on_deny = LISTENERS.on_deny
on_warn = LISTENERS.on_warn
remove_callback = LISTENERS.remove


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # the same
    """What `opentelemetry-instrument` loads: one entry point for each SDK, all with one end."""

    supported = ""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the SDK versions that are supported."""
        return (self.supported,)

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - upstream's signature
        install()

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - upstream's signature
        uninstall()


class OpenAIInstrumentor(_Instrumentor):
    """Instruments the OpenAI SDK."""

    supported = "openai >= 1.66, < 4"


class AnthropicInstrumentor(_Instrumentor):
    """Instruments the Anthropic SDK."""

    supported = "anthropic >= 0.51, < 3"


class MCPInstrumentor(_Instrumentor):
    """Instruments clients of the MCP SDK."""

    supported = "mcp >= 2.0, < 3"
