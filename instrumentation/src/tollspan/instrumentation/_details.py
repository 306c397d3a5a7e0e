"""What a span says of a request beyond its price: sampling parameters, formats, ids. No content.

A body rarely has any of these names, and then one set operation is all that it costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

from opentelemetry.util.types import AttributeValue

from tollspan import semconv

from ._shapes import text

Detail = tuple[str, AttributeValue] | None


def _number(name: str) -> Callable[[object], Detail]:
    def read(value: object) -> Detail:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return name, float(value)
        return None

    return read


def _integer(name: str) -> Callable[[object], Detail]:
    def read(value: object) -> Detail:
        return (name, value) if type(value) is int else None

    return read


def _text(name: str) -> Callable[[object], Detail]:
    def read(value: object) -> Detail:
        said = text(value)
        return (name, said) if said else None

    return read


def _texts(name: str) -> Callable[[object], Detail]:
    def read(value: object) -> Detail:
        values = [value] if isinstance(value, str) else value
        if not isinstance(values, list | tuple):
            return None
        said = [text(one) for one in cast("list[object]", values)]
        known = [one for one in said if one is not None]
        return (name, known) if known else None

    return read


def _within(key: str, read: Callable[[object], Detail]) -> Callable[[object], Detail]:
    """Read a member of an object."""

    def read_within(value: object) -> Detail:
        if isinstance(value, Mapping):
            return read(cast("Mapping[str, object]", value).get(key))
        return None

    return read_within


def _format(value: object) -> Detail:
    """Read which kind of output is wanted, out of `{"type": "json_schema", …}`."""
    kind = cast("Mapping[str, object]", value).get("type") if isinstance(value, Mapping) else None
    if kind in ("json_object", "json_schema"):
        return semconv.GEN_AI_OUTPUT_TYPE, "json"
    return (semconv.GEN_AI_OUTPUT_TYPE, "text") if kind == "text" else None


def _modalities(value: object) -> Detail:
    if isinstance(value, list) and "audio" in value:
        return semconv.GEN_AI_OUTPUT_TYPE, "speech"
    return None


def _conversation(value: object) -> Detail:
    """Read the conversation's id, which is given as such or within an object."""
    read = _text(semconv.GEN_AI_CONVERSATION_ID)
    return read(value) or _within("id", read)(value)


def _tier(value: object) -> Detail:
    said = text(value)
    return (semconv.OPENAI_REQUEST_SERVICE_TIER, said) if said and said != "auto" else None


_READERS: dict[str, Callable[[object], Detail]] = {
    "temperature": _number(semconv.GEN_AI_REQUEST_TEMPERATURE),
    "top_p": _number(semconv.GEN_AI_REQUEST_TOP_P),
    "top_k": _number(semconv.GEN_AI_REQUEST_TOP_K),
    "frequency_penalty": _number(semconv.GEN_AI_REQUEST_FREQUENCY_PENALTY),
    "presence_penalty": _number(semconv.GEN_AI_REQUEST_PRESENCE_PENALTY),
    "seed": _integer(semconv.GEN_AI_REQUEST_SEED),
    "stop": _texts(semconv.GEN_AI_REQUEST_STOP_SEQUENCES),
    "stop_sequences": _texts(semconv.GEN_AI_REQUEST_STOP_SEQUENCES),
    "reasoning_effort": _text(semconv.GEN_AI_REQUEST_REASONING_LEVEL),
    "reasoning": _within("effort", _text(semconv.GEN_AI_REQUEST_REASONING_LEVEL)),
    "previous_response_id": _text(semconv.GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID),
    "conversation": _conversation,
    "response_format": _format,
    "text": _within("format", _format),
    "output_format": _format,
    "output_config": _within("format", _format),
    "modalities": _modalities,
    "dimensions": _integer(semconv.GEN_AI_EMBEDDINGS_DIMENSION_COUNT),
    "encoding_format": _texts(semconv.GEN_AI_REQUEST_ENCODING_FORMATS),
}
_OF_OPENAI = {"service_tier": _tier}


def readers(package: str) -> dict[str, Callable[[object], Detail]]:
    """Return which members of an SDK's requests tell something, and who reads each."""
    return {**_READERS, **(_OF_OPENAI if package == "openai" else {})}


def read_details(
    body: Mapping[str, object], readers: Mapping[str, Callable[[object], Detail]]
) -> dict[str, AttributeValue]:
    """Return a request's details as attributes of its span."""
    found = [read(body[name]) for name, read in readers.items() if name in body]
    return dict([detail for detail in found if detail is not None])
