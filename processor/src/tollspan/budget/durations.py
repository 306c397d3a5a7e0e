"""Reads lengths of time of the rules' document: `60s`, `5m`, `24h`."""

from __future__ import annotations

import re

import yaml

from tollspan.usage import DocumentReader

_DURATION = re.compile(r"([1-9][0-9]{0,5})\s*([smh])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600}
_LONGEST_SECONDS = 86_400


def read_duration(reader: DocumentReader, node: yaml.Node | None, name: str) -> int | None:
    """Read a time from one second to 24 hours, in seconds; None where there is none.

    Raises:
        ConfigError: It is none such.
    """
    if node is None:
        return None
    text = reader.text(node, name)
    match = _DURATION.fullmatch(text)
    seconds = int(match[1]) * _SECONDS[match[2]] if match is not None else 0
    if not 1 <= seconds <= _LONGEST_SECONDS:
        reader.fail(
            node, f"`{name}` is {text!r}; expected a time such as `60s` or `5m`, 24h at most"
        )
    return seconds
