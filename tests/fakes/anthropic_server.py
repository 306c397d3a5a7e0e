"""The fake of Anthropic as a program: `python -m tests.fakes.anthropic_server --port 0`."""

from __future__ import annotations

import sys

from tests.fakes.anthropic_fake import FakeAnthropic
from tests.fakes.books import ANTHROPIC_PRICES
from tests.fakes.program import serve

__all__ = ["FakeAnthropic"]

if __name__ == "__main__":
    sys.exit(serve(FakeAnthropic, ANTHROPIC_PRICES))
