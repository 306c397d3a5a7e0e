"""Reads `on_exceed`: what becomes of a call that does not fit a budget."""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml

from tollspan.usage import DocumentReader

from .rules import CLAMP_MINIMUM_TOKENS, SHARPEST_FIRST, OnExceed

ON_EXCEED_KEYS = ("reroute", "clamp")
CLAMP_KEYS = ("minimum",)
_COUNT = re.compile("[1-9][0-9]{0,8}")
_LONGEST_NAME = 512
_WORDS: tuple[OnExceed, ...] = tuple(word for word in SHARPEST_FIRST if word != "reroute")
_EXPECTED = (
    f"{', '.join(_WORDS)}, {{reroute: {{gpt-4o: gpt-4o-mini}}}} or "
    f"{{clamp: {{minimum: {CLAMP_MINIMUM_TOKENS}}}}}"
)


class Exceeding(NamedTuple):
    """What a budget says of calls that do not fit; the fields are those of `Budget`."""

    on_exceed: OnExceed = "deny"
    reroute: tuple[tuple[str, str], ...] = ()
    clamp_minimum_tokens: int | None = None


def read_on_exceed(reader: DocumentReader, node: yaml.Node | None) -> Exceeding:
    """Read the value of `on_exceed`.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return Exceeding()
    if not isinstance(node, yaml.MappingNode):
        return _word(reader, node)
    keys = reader.mapping(node, "on_exceed")
    reader.only(keys, ON_EXCEED_KEYS, "on_exceed")
    if not keys:
        reader.fail(node, f"`on_exceed` is empty; expected {_EXPECTED}")
    reroute = _reroute(reader, keys["reroute"]) if "reroute" in keys else ()
    minimum = _minimum(reader, keys["clamp"]) if "clamp" in keys else None
    return Exceeding("reroute" if reroute else "clamp", reroute, minimum)


def _word(reader: DocumentReader, node: yaml.Node) -> Exceeding:
    text = reader.text(node, "on_exceed")
    for word in _WORDS:
        if word == text:
            return Exceeding(word, (), CLAMP_MINIMUM_TOKENS if word == "clamp" else None)
    return reader.fail(node, f"`on_exceed` is {text!r}; expected one of {_EXPECTED}")


def _reroute(reader: DocumentReader, node: yaml.Node) -> tuple[tuple[str, str], ...]:
    pairs = reader.mapping(node, "on_exceed.reroute")
    if not pairs:
        reader.fail(node, "`reroute` is empty; expected models such as {gpt-4o: gpt-4o-mini}")
    found: list[tuple[str, str]] = []
    for pattern, value in pairs.items():
        model = reader.text(value, f"on_exceed.reroute.{pattern}")
        if reader.is_null(value) or not pattern or not 0 < len(model) <= _LONGEST_NAME:
            reader.fail(value, f"`reroute` has {pattern!r}: {model!r}; expected a model's name")
        found.append((pattern, model))
    return tuple(found)


def _minimum(reader: DocumentReader, node: yaml.Node) -> int:
    keys = reader.mapping(node, "on_exceed.clamp")
    reader.only(keys, CLAMP_KEYS, "on_exceed.clamp")
    if "minimum" not in keys:
        return CLAMP_MINIMUM_TOKENS
    text = reader.text(keys["minimum"], "on_exceed.clamp.minimum")
    if not _COUNT.fullmatch(text):
        reader.fail(
            keys["minimum"],
            f"`minimum` is {text!r}; expected a number of output tokens, 1 or more, such as "
            f"{CLAMP_MINIMUM_TOKENS}",
        )
    return int(text)
