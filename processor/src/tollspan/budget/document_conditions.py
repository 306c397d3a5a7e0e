"""Reads the conditions of a `where`: globs, and with a `!` before them what is left out."""

from __future__ import annotations

import yaml

from tollspan.usage import DocumentReader

from .rules import Condition

_NOT, _ESCAPE = "!", "\\"


def read_condition(
    reader: DocumentReader, key: str, node: yaml.Node, name: str = "where"
) -> Condition:
    r"""Read what the values of a key must be, and what they must not.

    Args:
        reader: Reads the document.
        key: A subject or an owner.
        node: A glob, or a list of them. `!` before one leaves out what matches it; `\!` is the
            character itself.
        name: What the conditions are called.

    Raises:
        ConfigError: There is none, or an empty one.
    """
    items = reader.items(node)
    texts = [reader.text(item, f"{name}.{key}") for item in items]
    if not texts or "" in texts or any(map(reader.is_null, items)):
        reader.fail(node, f"`{name}.{key}` is empty; expected a value, or a list of them")
    if _NOT in texts:
        reader.fail(node, f"`{name}.{key}` leaves out nothing; expected a value behind the `!`")
    return Condition(
        key,
        tuple([_plain(text) for text in texts if not text.startswith(_NOT)]),
        tuple([text.removeprefix(_NOT) for text in texts if text.startswith(_NOT)]),
    )


def _plain(text: str) -> str:
    return text.removeprefix(_ESCAPE) if text.startswith(_ESCAPE + _NOT) else text
