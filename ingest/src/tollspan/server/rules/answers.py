"""What the API says of versions of rules, and how that is described."""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from tollspan.ledger.central import RulesVersion
from tollspan.usage import rfc3339

from .in_force import etag_of
from .reading import JSON_TYPE, YAML_TYPES

LAST_VERSION: Final = (1 << 31) - 1
_DOCUMENT: Final[dict[str, Any]] = {
    "type": "object",
    "description": "as tollspan.yaml is; `tollspan config schema` prints its schema",
    "required": ["version"],
    "properties": {"version": {"const": 1}},
}
_YAML: Final[dict[str, Any]] = {"schema": {"type": "string", "description": "as it was put"}}
_ETAG: Final[dict[str, Any]] = {"ETag": {"schema": {"type": "string"}}}
DOCUMENT_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "the document",
        "headers": _ETAG,
        "content": {JSON_TYPE: {"schema": _DOCUMENT}, YAML_TYPES[0]: _YAML},
    },
    304: {"description": "whoever asks has it already", "headers": _ETAG},
}
DOCUMENT_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {YAML_TYPES[0]: {"schema": {"type": "string"}}, JSON_TYPE: {"schema": _DOCUMENT}},
}


class VersionAnswer(BaseModel):
    """One version of a tenant's rules."""

    version: int = Field(description="counts the tenant's documents, from 1")
    etag: str = Field(description="of the document as it was put, with its quotes")
    bytes: int
    put_at: str = Field(description="RFC 3339")
    put_by: str = Field(description="as in the audit log")
    rolled_back_to: int | None = Field(description="the version of which this is the text again")


class HistoryAnswer(BaseModel):
    """A page of versions, the newest first."""

    versions: list[VersionAnswer]
    next: str | None = Field(description="cursor of the next page")


class RollBack(BaseModel):
    """Which version to roll back to."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=LAST_VERSION)


def version_answer(one: RulesVersion) -> VersionAnswer:
    """Return what is said of a version."""
    return VersionAnswer(
        version=one.version,
        etag=etag_of(one),
        bytes=one.bytes,
        put_at=rfc3339(one.put_unix_ns),
        put_by=one.actor,
        rolled_back_to=one.rolled_back_to,
    )
