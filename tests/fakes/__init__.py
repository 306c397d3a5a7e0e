"""Fake providers for tests, on real loopback sockets."""

from __future__ import annotations

from tests.fakes.anthropic_fake import FakeAnthropic
from tests.fakes.books import (
    ANTHROPIC_PRICES,
    FEES,
    PRICES,
    Price,
    Recorded,
    bill_nanousd,
)
from tests.fakes.openai_fake import FakeOpenAI
from tests.fakes.replies import FAKE_HEADER, Iteration, Reply, Script, ToolCall
from tests.fakes.wire import refusing_base_url, silent_base_url

__all__ = [
    "ANTHROPIC_PRICES",
    "FAKE_HEADER",
    "FEES",
    "PRICES",
    "FakeAnthropic",
    "FakeOpenAI",
    "Iteration",
    "Price",
    "Recorded",
    "Reply",
    "Script",
    "ToolCall",
    "bill_nanousd",
    "refusing_base_url",
    "silent_base_url",
]
