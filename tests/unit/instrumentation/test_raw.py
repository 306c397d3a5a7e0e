"""What is read from the bytes of an answer."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tollspan.instrumentation._stainless._raw import RawReader
from tollspan.instrumentation.openai._chat import ChatShape
from tollspan.usage import Request

REQUEST = Request(provider="openai", operation="chat", model="gpt-4o-mini", is_stream=True)
USAGE = {"prompt_tokens": 9, "completion_tokens": 3}
LAST = json.dumps({"id": "chatcmpl-1", "choices": [], "usage": USAGE})


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n", "\n", ""])
def test_the_last_event_is_read_however_the_stream_ends(end: str) -> None:
    response = SimpleNamespace(headers={"content-type": "text/event-stream"})
    reader = RawReader(ChatShape(), REQUEST, cast("Any", response))
    for byte in f": hello\n\ndata: {LAST}{end}".encode():
        reader.feed(bytes([byte]))
    usage = reader.read().usage
    assert usage is not None
    assert (usage.status, usage.input_tokens, usage.output_tokens) == ("reported", 9, 3)
