"""Reads the `window` of a budget: a word, a mapping with time zone and anchor, or a length.

That is of a rolling window, or of the silence that ends a period.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import yaml

from tollspan.usage import DocumentReader

from .durations import read_duration, read_stretch
from .windows import ANCHORED, EVERY, IDLE, LIFETIME, ROLLING, TRACE, Every, Window, is_timezone

WINDOW_KEYS = ("every", "timezone", "anchor")
ROLLING_KEYS = (ROLLING,)
IDLE_KEYS = (IDLE,)
LEAST_IDLE_SECONDS: Final = 10
_DAYS = re.compile(r"([1-9][0-9]{0,3}) days?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLAIN: tuple[Every, ...] = (*EVERY, TRACE)
_LENGTHS: dict[str, str] = {ROLLING: f"`{{{ROLLING}: 60s}}`", IDLE: f"`{{{IDLE}: 30m}}`"}
_WHY_ALONE: dict[str, str] = {
    ROLLING: "looks back from each call",
    IDLE: "begins with a call and ends with silence",
}
_WORDS = f"{', '.join(_PLAIN)}, or a number of days such as `30 days`"


def read_window(reader: DocumentReader, node: yaml.Node | None) -> Window:
    """Read when a budget starts anew; nothing is a lifetime.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return LIFETIME
    if not isinstance(node, yaml.MappingNode):
        said = reader.text(node, "window")
        if said in _LENGTHS:
            reader.fail(node, f"`window` of `{said}` has no length; expected {_LENGTHS[said]}")
        every, count = _every(reader, node, "window")
        if count is not None:
            reader.fail(node, _no_anchor(count))
        return Window(every=every)
    keys = reader.mapping(node, "window")
    if ROLLING in keys:
        return _rolling(reader, keys)
    if IDLE in keys:
        return _idle(reader, keys)
    reader.only(keys, WINDOW_KEYS, "window")
    if "every" not in keys:
        reader.fail(
            node,
            f"`window` has no `every`; expected one of {_WORDS}; or a length, "
            f"{' or '.join(_LENGTHS.values())}",
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
    _alone(reader, keys, ROLLING)
    reader.only(keys, ROLLING_KEYS, "window")
    seconds = read_stretch(reader, keys[ROLLING], f"window.{ROLLING}")
    return Window(every=ROLLING, seconds=seconds)


def _idle(reader: DocumentReader, keys: dict[str, yaml.Node]) -> Window:
    """Read an idle window: the time of silence is all that it has."""
    _alone(reader, keys, IDLE)
    reader.only(keys, IDLE_KEYS, "window")
    node, name = keys[IDLE], f"window.{IDLE}"
    seconds = read_duration(reader, node, name) or 0
    if seconds < LEAST_IDLE_SECONDS:
        reader.fail(
            node,
            f"`{name}` is {reader.text(node, name)!r}; expected {LEAST_IDLE_SECONDS}s or more",
        )
    return Window(every=IDLE, seconds=seconds)


def _alone(reader: DocumentReader, keys: dict[str, yaml.Node], length: str) -> None:
    """Refuse what the calendar's windows have beside a length."""
    for key in WINDOW_KEYS:
        if key in keys:
            reader.fail(
                keys[key],
                f"`window.{key}` does not go with `{length}`, which {_WHY_ALONE[length]}; "
                f"expected {_LENGTHS[length]} alone",
            )


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
