"""What `opentelemetry-instrument` loads, and upstream's users call: one class for each SDK."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # upstream's file hides from mypy
    BaseInstrumentor,
)

from ._install import instrument, uninstrument


class _Instrumentor(BaseInstrumentor):  # type: ignore[misc]  # the same
    """Installs tollspan, and is the switch of the spans of one SDK."""

    supported: ClassVar[str] = ""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the SDK versions that are supported."""
        return (self.supported,)

    def _instrument(self, **kwargs: Any) -> None:
        """Take `tracer_provider` and `meter_provider`, as every instrumentor does."""
        instrument(
            self._package,
            tracer_provider=kwargs.get("tracer_provider"),
            meter_provider=kwargs.get("meter_provider"),
        )

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - upstream's signature
        uninstrument(self._package)

    @property
    def _package(self) -> str:
        return self.supported.partition(" ")[0]


class OpenAIInstrumentor(_Instrumentor):
    """Instruments the OpenAI SDK."""

    supported = "openai >= 1.66, < 4"


class AnthropicInstrumentor(_Instrumentor):
    """Instruments the Anthropic SDK."""

    supported = "anthropic >= 0.51, < 3"


class MCPInstrumentor(_Instrumentor):
    """Instruments clients of the MCP SDK."""

    supported = "mcp >= 2.0, < 3"
