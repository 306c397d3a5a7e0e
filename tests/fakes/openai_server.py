"""The fake of OpenAI as a program: `python -m tests.fakes.openai_server --port 0`."""

from __future__ import annotations

import sys

from tests.fakes.books import PRICES
from tests.fakes.openai_fake import FakeOpenAI
from tests.fakes.program import serve

__all__ = ["FakeOpenAI"]

if __name__ == "__main__":
    sys.exit(serve(FakeOpenAI, PRICES))
