"""Writes a document as JSON that says the same: read as rules, both are one."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final

import yaml

from tollspan.usage import DocumentReader

from .in_force import SOURCE

_KEPT: Final = 16
_TAG: Final = "tag:yaml.org,2002:"
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,12})?", re.ASCII)
# JSON may have them in a text as they are, YAML may not, or reads them as ends of lines.
_ODD: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_BOOLEANS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "false": False,
    "no": False,
    "off": False,
}


@lru_cache(maxsize=_KEPT)
def as_json(text: str) -> bytes:
    """Return a document, which can be read as rules, in JSON."""
    root = DocumentReader(SOURCE).compose(text)
    written = json.dumps(_value(root), ensure_ascii=False, separators=(",", ":"))
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", written).encode()


def _value(node: yaml.Node | None) -> object:
    if isinstance(node, yaml.MappingNode):
        return {str(key.value): _value(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    return None if node is None else _plain(node)


def _plain(node: yaml.Node) -> object:
    """Return a plain value; as a string where JSON would not write it the same."""
    text = str(node.value)
    match str(node.tag).removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return _BOOLEANS[text.lower()]
        case "int" | "float" if _NUMBER.fullmatch(text):
            number = float(text) if "." in text else int(text)
            return number if str(number) == text or number == int(number) else text
        case _:
            return text
