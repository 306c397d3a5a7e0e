"""A program that asks a model in three ways: `python asking.py langchain|openai`.

It knows of no telemetry. Where the model is, OPENAI_BASE_URL says.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

ASKED: dict[str, Any] = {"model": "gpt-4o-mini", "max_tokens": 50}
QUESTION = "How high is the toll?"


def by_langchain() -> None:
    """Ask at once, piece by piece, and asynchronously."""
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(**ASKED, max_retries=0, stream_usage=True)
    assert model.invoke(QUESTION).content
    assert list(model.stream(QUESTION))
    assert asyncio.run(model.ainvoke(QUESTION)).content


def by_openai() -> None:
    """Ask the same by the SDK itself."""
    import openai

    asked = {**ASKED, "messages": [{"role": "user", "content": QUESTION}]}
    with openai.OpenAI(max_retries=0) as client:
        assert client.chat.completions.create(**asked).choices
        streamed = {**asked, "stream": True, "stream_options": {"include_usage": True}}
        assert list(client.chat.completions.create(**streamed))

    async def ask() -> None:
        async with openai.AsyncOpenAI(max_retries=0) as client:
            assert (await client.chat.completions.create(**asked)).choices

    asyncio.run(ask())


if __name__ == "__main__":
    {"langchain": by_langchain, "openai": by_openai}[sys.argv[1]]()
