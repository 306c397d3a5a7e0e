"""What `opentelemetry-instrument` loads: one entry point for each SDK, all with one end."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # upstream's file hides from mypy
    BaseInstrumentor,
)

from ._install import install, uninstall


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # the same
    """Installs tollspan; for which SDK makes no difference."""

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
