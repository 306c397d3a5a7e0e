"""Reads lengths of time of the rules' document: `60s`, `5m`, `24h`, `30d`."""

from __future__ import annotations

import re

import yaml

from tollspan.usage import DocumentReader

_DURATION = re.compile(r"([1-9][0-9]{0,6})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_SECONDS = 86_400
_LONGEST_DAYS = 90


def read_duration(reader: DocumentReader, node: yaml.Node | None, name: str) -> int | None:
    """Read a time from one second to 24 hours, in seconds; None where there is none.

    Raises:
        ConfigError: It is none such.
    """
    if node is None:
        return None
    text = reader.text(node, name)
    seconds = 0 if text.endswith("d") else _seconds(text)
    if not 1 <= seconds <= _LONGEST_SECONDS:
        reader.fail(
            node, f"`{name}` is {text!r}; expected a time such as `60s` or `5m`, 24h at most"
        )
    return seconds


def read_stretch(reader: DocumentReader, node: yaml.Node, name: str) -> int:
    """Read a time from one second to 90 days, in seconds.

    Raises:
        ConfigError: It is none such.
    """
    text = reader.text(node, name)
    seconds = _seconds(text)
    if not 1 <= seconds <= _LONGEST_DAYS * _SECONDS["d"]:
        reader.fail(
            node,
            f"`{name}` is {text!r}; expected a time such as `60s`, `5m`, `24h` or `30d`, "
            f"{_LONGEST_DAYS}d at most",
        )
    return seconds


def _seconds(text: str) -> int:
    """Return how many seconds a text says; 0 where it says no time."""
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _SECONDS[match[2]] if match is not None else 0
