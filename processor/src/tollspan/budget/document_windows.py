"""Reads the `window` of a budget: a word, a mapping with time zone and anchor, or a length."""

from __future__ import annotations

import re
from datetime import date

import yaml

from tollspan.usage import DocumentReader

from .durations import read_stretch
from .windows import ANCHORED, EVERY, LIFETIME, ROLLING, TRACE, Every, Window, is_timezone

WINDOW_KEYS = ("every", "timezone", "anchor")
ROLLING_KEYS = (ROLLING,)
_DAYS = re.compile(r"([1-9][0-9]{0,3}) days?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN: tuple[Every, ...] = (*EVERY, TRACE)
_ROLLING = f"`{{{ROLLING}: 60s}}`"
_WORDS = f"{', '.join(_PLAIN)}, or a number of days such as `30 days`"


def read_window(reader: DocumentReader, node: yaml.Node | None) -> Window:
    """Read when a budget starts anew; nothing is a lifetime.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return LIFETIME
    if not isinstance(node, yaml.MappingNode):
        if reader.text(node, "window") == ROLLING:
            reader.fail(node, f"`window` of `{ROLLING}` has no length; expected {_ROLLING}")
        every, count = _every(reader, node, "window")
        if count is not None:
            reader.fail(node, _no_anchor(count))
        return Window(every=every)
    keys = reader.mapping(node, "window")
    if ROLLING in keys:
        return _rolling(reader, keys)
    reader.only(keys, WINDOW_KEYS, "window")
    if "every" not in keys:
        reader.fail(
            node, f"`window` has no `every`; expected one of {_WORDS}; or a length, {_ROLLING}"
        )
    every, count = _every(reader, keys["every"], "window.every")
    anchor = _anchor(reader, keys.get("anchor"), every, count)
    if count is not None and anchor is None:
        reader.fail(node, _no_anchor(count))
    return Window(
        every=every,
        timezone=_timezone(reader, keys.get("timezone")),
        anchor=anchor,
        count=count or 1,
    )


def read_day(reader: DocumentReader, node: yaml.Node, name: str) -> date:
    """Read a day as it is written, `2026-11-14`.

    Raises:
        ConfigError: It is none.
    """
    text = reader.text(node, name)
    try:
        if _DATE.fullmatch(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    return reader.fail(node, f"`{name}` is {text!r}; expected a day such as 2026-11-14")


def _rolling(reader: DocumentReader, keys: dict[str, yaml.Node]) -> Window:
    """Read a rolling window: its length is all that it has."""
    for key in WINDOW_KEYS:
        if key in keys:
            reader.fail(
                keys[key],
                f"`window.{key}` does not go with `{ROLLING}`, which looks back from each call; "
                f"expected {_ROLLING} alone",
            )
    reader.only(keys, ROLLING_KEYS, "window")
    seconds = read_stretch(reader, keys[ROLLING], f"window.{ROLLING}")
    return Window(every=ROLLING, seconds=seconds)


def _every(reader: DocumentReader, node: yaml.Node, name: str) -> tuple[Every, int | None]:
    """Read how long a period is, and of how many days where it is a number of them."""
    text = reader.text(node, name)
    days = _DAYS.fullmatch(text)
    if days is not None:
        return "day", int(days[1])
    for every in _PLAIN:
        if every == text:
            return every, None
    return reader.fail(node, f"`{name}` is {text!r}; expected one of {_WORDS}")


def _anchor(
    reader: DocumentReader, node: yaml.Node | None, every: Every, count: int | None
) -> date | None:
    if node is None:
        return None
    if count is None and every not in ANCHORED:
        reader.fail(
            node,
            f"`window.anchor` does not go with `{every}`; expected it with one of "
            f"{', '.join(ANCHORED)}, or a number of days",
        )
    return read_day(reader, node, "window.anchor")


def _no_anchor(count: int) -> str:
    return (
        f"`window` of {count} days has no `anchor`; expected a day on which a period begins: "
        f"`{{every: {count} days, anchor: 2026-11-14}}`"
    )


def _timezone(reader: DocumentReader, node: yaml.Node | None) -> str:
    if node is None:
        return "UTC"
    name = reader.text(node, "window.timezone")
    if not is_timezone(name):
        reader.fail(node, f"`timezone` is {name!r}; expected an IANA name such as `Europe/Berlin`")
    return name
