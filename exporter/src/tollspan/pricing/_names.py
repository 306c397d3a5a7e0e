"""From the name of a model to the book's key: exact, or by rules that can't hit a sibling."""

from __future__ import annotations

import re
from datetime import date

from ._file import Provider

_DATE = re.compile(r"(.+)-(20[0-9]{2})-?([01][0-9])-?([0-3][0-9])")


def resolve(part: Provider, provider: str, model: str) -> tuple[str, str] | None:
    """Return the book's key and the rule that found it, None when no rule does.

    The rules in order: `exact` (the key itself), `alias` (another exact name of it), `normalised`
    (the same in lower case and without the provider before a slash), `date` (a known name with a
    date behind it), `fine_tune` (`ft:base:org::id` → the book's own row of the fine-tuned base,
    never the base's).
    """
    key = part.names.get(model)
    if key is not None:
        return key, "exact" if key == model else "alias"
    plain = model.strip().lower().removeprefix(f"{provider}/")
    key = part.names.get(plain)
    if key is not None:
        return key, "normalised"
    if plain.startswith("ft:"):
        key = _exact_or_dated(part, ":".join(plain.split(":", 2)[:2]))
        return None if key is None else (key, "fine_tune")
    key = _dated(part, plain)
    return None if key is None else (key, "date")


def _exact_or_dated(part: Provider, name: str) -> str | None:
    return part.names.get(name) or _dated(part, name)


def _dated(part: Provider, name: str) -> str | None:
    match = _DATE.fullmatch(name)
    if match is None:
        return None
    base, year, month, day = match.groups()
    try:
        written = date(int(year), int(month), int(day)).isoformat()
    except ValueError:
        return None
    key = part.names.get(f"{base}-{written}")
    if key is None and base in part.dated:
        key = part.names.get(base)
    return key
