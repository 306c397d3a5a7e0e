"""Reads a limit that a program says in its own code."""

from __future__ import annotations

from typing import NoReturn

import yaml

from tollspan.usage import BudgetUnit, ConfigError, DocumentReader

from .document_limits import read_amount


def parse_limit(text: str, *, source: str) -> tuple[int, BudgetUnit]:
    """Read `0.50 USD`, `50000 tokens` or `100 calls`, as the document does.

    Args:
        text: The limit.
        source: Who says it, for the error.

    Raises:
        ConfigError: It is none; the text says what was expected.
    """
    node = yaml.ScalarNode("tag:yaml.org,2002:str", text)
    return read_amount(_SaidReader(source), node, "limit")


class _SaidReader(DocumentReader):
    """Reads what stands in no document, and so on no line."""

    def fail(self, node: yaml.Node, problem: str) -> NoReturn:  # noqa: ARG002 - as the reader's
        """Say what is wrong."""
        raise ConfigError(f"{self.source}: {problem}")
