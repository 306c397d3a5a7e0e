"""Starts tollspan: every way in ends in one idempotent `install`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # upstream's file hides from mypy
    BaseInstrumentor,
)

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
    "read_settings",
    "run_program",
    "uninstall",
]


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
