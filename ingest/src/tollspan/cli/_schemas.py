"""The JSON Schemas of `tollspan.yaml` and of a line of `tollspan events --json`, made from code."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, cast, get_args

import msgspec

from tollspan.budget import (
    WINDOWS,
    OnUnavailable,
    OnUnbounded,
    OnUnboundedInput,
    OnUnpriced,
)

from ._event_line import ChargeLine, EventLine

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, object]

# Digits with `,` and `_` between, no more of them than the largest limit has.
_DIGITS = r"(0[_,]*)*([0-9][_,]*){{1,{most}}}"
_USD = rf"({_DIGITS.format(most=9)}(\.[0-9]{{1,9}}0*)?|(0[_,]*)*1[_,]*(0[_,]*){{9}}(\.0+)?)\s*USD"


def config_schema() -> Schema:
    """Return the schema of the rules' document.

    It accepts what the parser accepts, but for what no schema can say: that ids are unique, and
    that a key is written once.
    """
    return {
        "$schema": _DRAFT,
        "$id": "urn:tollspan:config:v1",
        "title": "tollspan.yaml",
        "description": "Budgets for calls to models, and what happens where they can't decide.",
        **_object(
            {
                "version": {"enum": [1, "1"], "description": "The document's format."},
                "defaults": _object(_DEFAULTS),
                "budgets": {"type": "array", "items": _object(_BUDGET, needed=("id", "limit"))},
                "hosts": {
                    "description": "Host, or host:port, to the provider that answers there.",
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                },
            },
            needed=("version",),
        ),
    }


def event_schema() -> Schema:
    """Return the schema of one line of `tollspan events --json`."""
    found = msgspec.json.schema(EventLine)
    lines: Schema = found["$defs"]
    for kind in (EventLine, ChargeLine):
        _describe(kind, cast("dict[str, Any]", lines[kind.__name__]))
    return {"$schema": _DRAFT, "$id": "urn:tollspan:event:v1", **found}


def _describe(kind: type[msgspec.Struct], schema: dict[str, Any]) -> None:
    """Put what a docstring says of each field beside the field."""
    head, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    schema["description"] = " ".join(head.split())
    for entry in re.split(r"\n(?! {8})", attributes):
        names, colon, text = entry.strip().partition(": ")
        for name in _names(names, kind.__struct_fields__) if colon else ():
            schema["properties"][name]["description"] = " ".join(text.split())


def _names(written: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Read `a, b`, or `a … d` for all from the one to the other."""
    first, between, last = written.partition(" … ")
    if between:
        return fields[fields.index(first) : fields.index(last) + 1]
    return tuple(written.split(", "))


def _object(properties: Schema, *, needed: tuple[str, ...] = ()) -> Schema:
    found: Schema = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    return {**found, "required": list(needed)} if needed else found


def _choice(choices: Iterable[str], default: str, text: str) -> Schema:
    return {"enum": list(choices), "default": default, "description": text}


_DEFAULTS: Schema = {
    "on_unavailable": _choice(
        get_args(OnUnavailable), "deny", "Calls in a budget, while the ledger can't answer."
    ),
    "on_unbounded": _choice(
        get_args(OnUnbounded), "model_max", "Calls without a limit on their output."
    ),
    "on_unbounded_input": _choice(
        get_args(OnUnboundedInput), "window", "Calls whose input no count of bytes bounds."
    ),
    "on_unpriced": {
        "enum": list(get_args(OnUnpriced)),
        "description": "Models without a price. Without it: `ceiling` on hosts that are known to "
        "be the provider's own, `allow` elsewhere.",
    },
}
_BUDGET: Schema = {
    "id": {
        "description": "Unique in the document.",
        "type": ["string", "integer"],
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        "minimum": 0,
    },
    "limit": {
        "description": "An amount such as `49.50 USD`.",
        "type": "string",
        "pattern": rf"^\s*({_USD})\s*$",
    },
    "window": _choice(WINDOWS, "lifetime", "When the budget starts anew; calendar windows in UTC."),
    "message": {"description": "What a refusal tells the program's user.", "type": "string"},
    "upgrade_url": {"description": "Where that user may get more.", "type": "string"},
}
