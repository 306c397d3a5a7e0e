"""How the API's own description names what is written by msgspec, not by FastAPI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from tollspan.usage import KeyInfo

from .event_answers import EventsAnswer

_TEMPLATE: Final = "#/components/schemas/{name}"
_DESCRIBED: Final = (EventsAnswer, KeyInfo)
CLOUD_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "CloudEvents 1.0; `data` is the event, with amounts of money as strings",
    "required": ["specversion", "id", "source", "type", "data"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {
            "enum": [
                "dev.tollspan.usage.v1",
                "dev.tollspan.decision.v1",
                "dev.tollspan.adjustment.v1",
                "dev.tollspan.reversal.v1",
                "dev.tollspan.repricing.v1",
            ]
        },
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "traceparent": {"type": "string"},
        "data": {"type": "object"},
    },
}


def json_answer(kind: type[msgspec.Struct], description: str) -> dict[str, Any]:
    """Describe an answer."""
    schema = {"$ref": _TEMPLATE.format(name=kind.__name__)}
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def json_question(kind: type[Any]) -> dict[str, Any]:
    """Describe a body."""
    schema = {"$ref": _TEMPLATE.format(name=kind.__name__)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def described(more: Sequence[type[msgspec.Struct]] = ()) -> dict[str, Any]:
    """Return the schemas by name, for the description's `components`; of more words, too."""
    kinds = (*_DESCRIBED, *more)
    _, components = msgspec.json.schema_components(
        kinds, schema_hook=_anything, ref_template=_TEMPLATE
    )
    return {**components, "CloudEvent": CLOUD_EVENT}


def _anything(kind: type) -> dict[str, Any]:
    """Describe `object`, which is checked where it is read."""
    if kind is object:
        return {"description": "any JSON"}  # msgspec takes no empty one
    raise NotImplementedError
