"""Fake providers for tests, on real loopback sockets."""

from __future__ import annotations

from tests.fakes.books import PRICES, Price, Recorded, bill_nanousd
from tests.fakes.replies import FAKE_HEADER, Reply, Script, ToolCall
from tests.fakes.server import FakeOpenAI
from tests.fakes.wire import refusing_base_url, silent_base_url

__all__ = [
    "FAKE_HEADER",
    "PRICES",
    "FakeOpenAI",
    "Price",
    "Recorded",
    "Reply",
    "Script",
    "ToolCall",
    "bill_nanousd",
    "refusing_base_url",
    "silent_base_url",
]
