"""Reads a document that is put, by the code that hosts read it by, and says all that is wrong.

It takes a few seconds at most, whatever was sent: what unfolds to very much is refused before it is
read, and of a very long document that is wrong only the first problems are looked for.
"""

from __future__ import annotations

import json
import re
from typing import Final

from tollspan.budget import MOST_PROBLEMS, find_problems
from tollspan.server.problems import ProblemError, ProblemPlace
from tollspan.usage import ConfigError, check_document_size

from .in_force import SOURCE

MOST_VALUES: Final = 200_000
"""Keys, plain values, lists and mappings of a document: about 20,000 budgets."""
JSON_TYPE: Final = "application/json"
YAML_TYPES: Final = ("application/yaml", "text/yaml", "application/x-yaml", "text/x-yaml")
_BYTES_READ_AGAIN: Final = 2_000_000
# JSON writes what is beyond U+FFFF as two halves, which YAML does not know.
_ESCAPES: Final = re.compile(
    r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)"
)


def read_text(body: bytes, content_type: str) -> str:
    """Return the text of a document that is sent.

    Raises:
        ProblemError: It is neither YAML nor JSON by its type, or no text.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in (JSON_TYPE, *YAML_TYPES):
        raise ProblemError(415, f"expected {YAML_TYPES[0]} or {JSON_TYPE}")
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        byte = body[error.start]
        raise _refused([ProblemPlace(line=line, message=f"{SOURCE}:{line}: is no text in UTF-8 "
                                     f"(byte 0x{byte:02x})")]) from None  # fmt: skip
    if kind == JSON_TYPE:
        _check_json(text)
        text = _ESCAPES.sub(_joined, text)
    return text


def check_rules(text: str) -> None:
    """Refuse a document with which hosts could do nothing.

    Raises:
        ProblemError: Something in it is wrong; it names all of that, with lines.
    """
    try:
        check_document_size(text, source=SOURCE, most_values=MOST_VALUES)
    except ConfigError as error:
        raise ProblemError(413, str(error)) from None
    most = min(MOST_PROBLEMS, max(1, _BYTES_READ_AGAIN // max(1, len(text))))
    found = find_problems(text, source=SOURCE, most=most)
    if found:
        raise _refused([ProblemPlace(line=one.line, message=one.text) for one in found])


def _check_json(text: str) -> None:
    """Refuse what is no JSON but some other YAML, which its type says it is not."""
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        place = ProblemPlace(line=error.lineno, message=f"{SOURCE}:{error.lineno}: no JSON: "
                             f"{error.msg} at column {error.colno}")  # fmt: skip
        raise _refused([place]) from None
    except RecursionError:
        place = ProblemPlace(message=f"{SOURCE}: no JSON that can be read: nested too deep")
        raise _refused([place]) from None


def _joined(found: re.Match[str]) -> str:
    """Write two halves of a character as the character; leave other escapes alone."""
    if found[1] is None:
        return found[0]
    high, low = int(found[1], 16) - 0xD800, int(found[2], 16) - 0xDC00
    return chr(0x10000 + (high << 10) + low)


def _refused(places: list[ProblemPlace]) -> ProblemError:
    more = "" if len(places) == 1 else f" (and {len(places) - 1} more: see `problems`)"
    return ProblemError(400, f"{places[0].message}{more}", type="invalid_rules", places=places)
