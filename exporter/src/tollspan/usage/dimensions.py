"""The dimensions of who pays: their names, what a value may be, and how two statements merge."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import cast

import msgspec

from .blocks import merge_blocks
from .call import Attribution
from .errors import AttributionError

DIMENSIONS = ("customer", "session", "user", "agent", "feature", "step", "team", "project")
"""What a program may say of a call, besides tags."""
TAG_PREFIX = "tag."
"""Before a tag's name where a tag stands among dimensions: `tag.tier`."""
LONGEST_VALUE = 256
"""Characters of a value, at most."""
MOST_TAGS = 32
"""Tags in one statement, at most: a span has room for 128 attributes."""

OWNERS = (*DIMENSIONS, "service", "environment")
"""What an `Attribution` may say, besides tags: the resource says the last two."""
_TAG_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
# Control characters, what ends a line, and halves of characters, which UTF-8 can't write.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_FINISHING = "finishing"
_NAMES = f"{', '.join(DIMENSIONS)}, tags, {_FINISHING}"


def check_value(name: str, value: object) -> str:
    """Return a value as it is.

    Args:
        name: What it is called where it was said, for the error.
        value: 1 to 256 characters, no control characters.

    Raises:
        AttributionError: It is none; the text does not show it.
    """
    if not isinstance(value, str):
        raise AttributionError(
            f"{name} is of type {type(value).__name__}; expected text: write str(…) around an id"
        )
    if not 1 <= len(value) <= LONGEST_VALUE:
        fix = "give a shorter id, nothing is cut" if value else "leave it out to say nothing"
        raise AttributionError(
            f"{name} has {len(value)} characters; expected 1 to {LONGEST_VALUE}: {fix}"
        )
    found = _FORBIDDEN.search(value)
    if found is not None:
        raise AttributionError(
            f"{name} has the control character U+{ord(found[0]):04X} at position {found.start()}; "
            "expected none: remove it"
        )
    return value if type(value) is str else str.__str__(value)


def check_tag_name(name: object, place: str = "a tag's name") -> str:
    """Return a tag's name as it is.

    Raises:
        AttributionError: It is none.
    """
    if not isinstance(name, str) or not _TAG_NAME.fullmatch(name):
        raise AttributionError(
            f"{place} is {_shown(name)}; expected 1 to 64 of the letters A to Z, digits, "
            "`_`, `-` and `.`, the first one a letter or digit"
        )
    return name if type(name) is str else str.__str__(name)


def is_tag(dimension: str) -> bool:
    """Say whether a dimension's name is that of a tag, `tag.tier` say."""
    name = dimension.removeprefix(TAG_PREFIX)
    return name != dimension and _TAG_NAME.fullmatch(name) is not None


def value_of(attribution: Attribution, dimension: str) -> str | None:
    """Return the value of a dimension or a tag (`tag.tier`); None when nobody said one."""
    name = dimension.removeprefix(TAG_PREFIX)
    if name != dimension:
        return dict(attribution.tags).get(name)
    return cast("str | None", getattr(attribution, dimension))


def read_attribution(
    values: Mapping[str, object],
    *,
    place: str = "",
    on_wrong: Callable[[AttributionError], None] | None = None,
) -> Attribution:
    """Make a statement of dimensions by name, `tags` as a mapping, `finishing` as a bool.

    None says nothing.

    Args:
        values: What was said.
        place: Where, for errors: stands before the dimension's name.
        on_wrong: Is told of each value that is wrong, and the rest is taken; None to raise.

    Raises:
        AttributionError: A value is wrong; the text names the dimension and the fix.
    """
    tell = on_wrong or _raise
    for name in values.keys() - {*DIMENSIONS, "tags", _FINISHING}:
        tell(AttributionError(f"{place}{_shown(name)} is not known; known: {_NAMES}"))
    known: dict[str, str | bool] = {}
    for name in DIMENSIONS:
        value = values.get(name)
        if value is not None:
            try:
                known[name] = check_value(f"{place}{name}", value)
            except AttributionError as error:
                tell(error)
    finishing = values.get(_FINISHING)
    if isinstance(finishing, bool):
        known[_FINISHING] = finishing
    elif finishing is not None:
        kind = type(finishing).__name__
        tell(AttributionError(f"{place}{_FINISHING} is of type {kind}; expected True or False"))
    return msgspec.convert({**known, "tags": _tags(values.get("tags"), place, tell)}, Attribution)


def merge_attributions(outer: Attribution, inner: Attribution) -> Attribution:
    """Return both in one: what `inner` says wins, dimension by dimension and tag by tag.

    The budgets of blocks add up.
    """
    changes: dict[str, object] = {
        name: value for name in OWNERS if (value := getattr(inner, name)) is not None
    }
    if inner.tags:
        changes["tags"] = tuple(sorted({**dict(outer.tags), **dict(inner.tags)}.items()))
    if inner.budgets:
        changes["budgets"] = merge_blocks(outer.budgets, inner.budgets)
    if inner.finishing:
        changes[_FINISHING] = True
    return msgspec.structs.replace(outer, **changes) if changes else outer


def _tags(
    given: object, place: str, tell: Callable[[AttributionError], None]
) -> tuple[tuple[str, str], ...]:
    """Read tags, sorted by name."""
    if given is None:
        return ()
    if not isinstance(given, Mapping):
        tell(AttributionError(f"{place}tags is of type {type(given).__name__}; expected a mapping"))
        return ()
    named = cast("Mapping[object, object]", given)
    said = {name: value for name, value in named.items() if value is not None}
    if len(said) > MOST_TAGS:
        tell(AttributionError(f"{place}tags has {len(said)} tags; expected {MOST_TAGS} at most"))
        return ()
    found: list[tuple[str, str]] = []
    for name, value in said.items():
        try:
            known = check_tag_name(name, f"{place}a tag's name")
            found.append((known, check_value(f"{place}tag {known}", value)))
        except AttributionError as error:
            tell(error)
    return tuple(sorted(found))


def _shown(name: object) -> str:
    """Show what should have been a name, cut for a message."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _raise(error: AttributionError) -> None:
    raise error
