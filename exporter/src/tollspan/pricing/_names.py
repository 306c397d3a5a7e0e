"""From the name of a model to the book's key: exact, or by rules that can't hit a sibling."""

from __future__ import annotations

import re
from datetime import date

from ._file import Provider

_DATE = re.compile(r"(.+)-(20[0-9]{2})-?([01][0-9])-?([0-3][0-9])")
# What stands before a model's name in a path: Gemini's `models/`, Vertex AI's full resource names,
# the ARNs of Bedrock's models and of its own inference profiles. ARNs of a customer's profiles,
# provisioned models and endpoints say nothing of the model, and are left as they are.
_PATH = re.compile(
    r"(?:models/|(?:projects/[^/]+/locations/[^/]+/)?publishers/[^/]+/models/"
    r"|arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:(?:foundation-model|inference-profile)/)(.+)"
)
# Vertex AI's versions, and suffixes by which OpenRouter chooses a host of the same model.
_VERSION = re.compile(r"(.+?)(?:@(?:default|latest)|:(?:nitro|floor))")


def resolve(part: Provider, providers: frozenset[str], model: str) -> tuple[str, str] | None:
    """Return the book's key and the rule that found it, None when no rule does.

    `providers` are the names of the provider itself, as they may stand before a slash.

    The rules in order: `exact` (the key itself), `alias` (another exact name of it), `normalised`
    (the same in lower case, without the provider before a slash, without a path before it or a
    version behind it), `date` (a known name with a date behind it), `fine_tune` (`ft:base:org::id`
    → the book's own row of the fine-tuned base, never the base's).
    """
    key = part.names.get(model)
    if key is not None:
        return key, "exact" if key == model else "alias"
    plain = plain_name(providers, model)
    for name in (plain, plain.replace("@", "-")):
        key = part.names.get(name)
        if key is not None:
            return key, "normalised"
    if plain.startswith("ft:"):
        key = _exact_or_dated(part, ":".join(plain.split(":", 2)[:2]))
        return None if key is None else (key, "fine_tune")
    key = _dated(part, plain.replace("@", "-"))
    return None if key is None else (key, "date")


def plain_name(providers: frozenset[str], model: str) -> str:
    """Return a name in lower case, without what stands around it and does not change the price."""
    plain = model.strip().lower()
    before, _, after = plain.partition("/")
    if before in providers:
        plain = after
    path = _PATH.fullmatch(plain)
    if path is not None:
        plain = path[1]
    version = _VERSION.fullmatch(plain)
    return plain if version is None else version[1]


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
