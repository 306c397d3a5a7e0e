"""Conditional requests (RFC 9110, 13) about a document, and which form of it is asked for.

A document has two forms, as it was put and as JSON, and each a strong ETag of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, Literal

from fastapi import Request

from tollspan.ledger.central import RulesHead
from tollspan.server.problems import ProblemError

from .in_force import etag_of
from .reading import JSON_TYPE, YAML_TYPES

Form = Literal["json", "yaml"]
_TAG: Final = r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"'
_TAGS: Final = re.compile(rf"[\s,]*{_TAG}(?:\s*,[\s,]*(?:{_TAG})?)*\s*")
_ONE_TAG: Final = re.compile(_TAG)
_ANY: Final = "*"
_LONGEST: Final = 8_192


def etag_in(form: Form, head: RulesHead) -> str:
    """Return the ETag of a document in a form."""
    return etag_of(head) if form == "yaml" else f'"{head.digest}.json"'


def form_wanted(request: Request) -> Form:
    """Return the form that a request asks for: JSON, unless YAML is wanted more.

    Raises:
        ProblemError: Neither will do.
    """
    ranges = dict(_ranges(",".join(request.headers.getlist("accept"))))
    if not ranges:
        return "json"
    json = _quality(ranges, (JSON_TYPE,))
    yaml = _quality(ranges, YAML_TYPES)
    if max(json[0], yaml[0]) == 0:
        raise ProblemError(406, f"there is {JSON_TYPE} and {YAML_TYPES[0]}")
    return "yaml" if yaml > json else "json"


def _ranges(accept: str) -> Iterator[tuple[str, float]]:
    """Yield media ranges with their quality."""
    for part in accept[:_LONGEST].split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                found = re.fullmatch(r"[01](\.[0-9]{0,3})?", parameter[2:])
                quality = min(1.0, float(found[0])) if found else 0.0
        if name:
            yield name, quality


def _quality(ranges: dict[str, float], types: tuple[str, ...]) -> tuple[float, int]:
    """Return how much a form is wanted, and how exactly it is named."""
    found = [(ranges[name], 2) for name in types if name in ranges]
    if found:
        return max(found)
    kinds = [f"{name.partition('/')[0]}/*" for name in types]
    found = [(ranges[name], 1) for name in kinds if name in ranges]
    return max(found) if found else (ranges.get("*/*", 0.0), 0)


def is_unchanged(request: Request, etag: str) -> bool:
    """Say whether whoever asks has this already.

    Raises:
        ProblemError: `If-None-Match` can't be read.
    """
    tags = _tags(request, "if-none-match")
    return tags is not None and (tags == [_ANY] or etag in [tag.removeprefix("W/") for tag in tags])


def expectation(request: Request) -> Callable[[RulesHead | None], bool]:
    """Return what says whether the rules in force are those that a change is meant for.

    Raises:
        ProblemError: `If-Match` or `If-None-Match` can't be read.
    """
    wanted, unwanted = _tags(request, "if-match"), _tags(request, "if-none-match")

    def matches(tags: list[str], head: RulesHead | None) -> bool:
        if head is None:
            return False
        return tags == [_ANY] or any(
            etag in tags for etag in (etag_in("yaml", head), etag_in("json", head))
        )

    def is_expected(head: RulesHead | None) -> bool:
        if wanted is not None and not matches(wanted, head):
            return False
        return unwanted is None or not matches(unwanted, head)

    return is_expected


def _tags(request: Request, name: str) -> list[str] | None:
    """Return the tags of a header; `*` alone for any; None where it is not there."""
    said = request.headers.getlist(name)
    if not said:
        return None
    text = ",".join(said).strip()
    if text == _ANY:
        return [_ANY]
    if len(text) > _LONGEST or not _TAGS.fullmatch(text):
        raise ProblemError(400, f'header.{name}: expected ETags in quotes, "a1b2" say, or *')
    return _ONE_TAG.findall(text)
