"""Bounds what values can become in input tokens, by the bytes of their JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import cast

import msgspec

from ._shapes import is_given

# Whatever a caller's own objects raise while they are turned into JSON.
_NO_JSON = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)


def _plain(value: object) -> object:
    """Help the encoder with what the SDKs take too; iterators stay as they are: they run dry."""
    dump = getattr(value, "model_dump", None)
    if dump is not None:
        return dump(mode="json", exclude_unset=True)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, Collection):
        return list(cast("Collection[object]", value))
    if type(value).__name__ in ("NotGiven", "Omit"):
        return None
    raise NotImplementedError(type(value).__name__)


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def json_bytes(value: object) -> bytes | None:
    """Return the JSON of a value, which is never shorter than its text in UTF-8.

    None for what can't be read without using it up, a generator say.
    """
    try:
        return _encode(value)
    except _NO_JSON:
        return None


def given_beside(
    body: Mapping[str, object], free: AbstractSet[str]
) -> Iterator[tuple[str, object, bytes | None]]:
    """Yield each argument that is given and not in `free`, by name.

    Yields:
        Its name, its value, and its JSON: None for what can't be read.
    """
    for name in sorted(body.keys() - free):
        value = body[name]
        if is_given(value):
            yield name, value, json_bytes(value)
