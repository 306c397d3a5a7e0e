"""Says in words which rules are in force on a host, and why these."""

from __future__ import annotations

from tollspan.exporter import rules_of, shown
from tollspan.launch import Settings

NO_RULES = "no rules: there is no tollspan.yaml here or in TOLLSPAN_HOME"


def source_words(settings: Settings) -> str:
    """Say who names the rules in force, and whom they outrank."""
    named_by = settings.rules_named_by
    if named_by == "TOLLSPAN_ENDPOINT":
        return "of the ingest server, TOLLSPAN_ENDPOINT"
    words = "named by TOLLSPAN_CONFIG" if named_by == "TOLLSPAN_CONFIG" else f"found in {named_by}"
    endpoint = settings.endpoint
    if endpoint is None or settings.rules_url == rules_of(endpoint):
        return words
    return f"{words}; those of {shown(endpoint)} are not asked for"
