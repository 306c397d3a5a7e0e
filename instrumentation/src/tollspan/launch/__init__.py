"""Starts tollspan: every way in ends in one idempotent `install`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]  # upstream's file hides from mypy
    BaseInstrumentor,
)

from ._install import Installed, install, install_or_raise, uninstall
from ._run import check_or_raise, run_program
from ._settings import SETTINGS, Setting, Settings, read_settings

__all__ = [
    "SETTINGS",
    "Installed",
    "OpenAIInstrumentor",
    "Setting",
    "Settings",
    "check_or_raise",
    "install",
    "install_or_raise",
    "read_settings",
    "run_program",
    "uninstall",
]


class OpenAIInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # the same
    """Instruments the OpenAI SDK: the entry point that `opentelemetry-instrument` loads."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return the SDK versions that are supported."""
        return ("openai >= 1.66, < 4",)

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - upstream's signature
        install()

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - upstream's signature
        uninstall()
