"""Finds all that is wrong in a document, not only what comes first.

What is wrong is cut out of the document, and the rest is read again: a budget with a wrong limit
is left out, and what is wrong in the next one is found as if the first were not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import yaml

from tollspan.usage import ConfigError

from .document import RulesReader, parse_rules

MOST_PROBLEMS = 50
_VERSION = "version"


class Problem(NamedTuple):
    """Something wrong in a document.

    Attributes:
        line: Where, counted from 1; None where no line can be named.
        text: The error: the document's name, the line, what was found, what was expected.
    """

    line: int | None
    text: str


def find_problems(
    text: str, *, source: str = "rules", most: int = MOST_PROBLEMS
) -> tuple[Problem, ...]:
    """Return what is wrong in a document, in the order of its lines; nothing when it can be used.

    At most 50: a document that has more is another kind of document. Where the text is no YAML, or
    says another version, that is all there is to say of it.

    Args:
        text: The document.
        source: Its name for messages.
        most: How many are looked for. The document is read once more for each.
    """
    try:
        parse_rules(text, source=source)
    except ConfigError as error:
        first = str(error)
    else:
        return ()
    reader = _NotingReader(source)
    root = _root(reader, text)
    if root is None:
        return (Problem(_line_in(first, source), first),)
    found = sorted(dict.fromkeys(_problems(reader, root, most)), key=_line)
    return tuple(found)


class _NotingReader(RulesReader):
    """Reads rules, and keeps the node at which it gave up."""

    def __init__(self, source: str) -> None:
        super().__init__(source)
        self.failed: yaml.Node | None = None

    def fail(self, node: yaml.Node, problem: str) -> NoReturn:
        """Keep the node, and say what is wrong at it."""
        self.failed = node
        super().fail(node, problem)


class _Place(NamedTuple):
    """Where a node is: its part of a container, and where that container is."""

    container: yaml.SequenceNode | yaml.MappingNode
    at: int
    outer: _Place | None


def _line(problem: Problem) -> int:
    return problem.line or 0


def _line_in(text: str, source: str) -> int | None:
    """Return the line that an error names."""
    line = text.removeprefix(f"{source}:").partition(":")[0]
    return int(line) if line.isascii() and line.isdigit() else None


def _root(reader: _NotingReader, text: str) -> yaml.Node | None:
    try:
        return reader.compose(text)
    except ConfigError:
        return None


def _problems(reader: _NotingReader, root: yaml.Node, most: int) -> Iterator[Problem]:
    """Read the document again and again, each time without what was wrong the time before."""
    cut: set[int] = set()
    for _ in range(most):
        reader.failed = None
        try:
            reader.rules(root)
        except ConfigError as error:
            node = reader.failed
            if node is None:
                yield Problem(None, str(error))
                return
            if id(node) not in cut:  # else it is wrong only because we took something out of it
                yield Problem(node.start_mark.line + 1, str(error))
            place = _to_cut(_find(root, node), root)
            if place is None:
                return
            del place.container.value[place.at]
            cut.add(id(place.container))
        else:
            return


def _to_cut(place: _Place | None, root: yaml.Node) -> _Place | None:
    """Return what to take out: the entry of a list around a node, else its key and value.

    A document of an unknown version has no other part that could be read.
    """
    inner = place
    while place is not None:
        item = place.container.value[place.at]
        if isinstance(item, yaml.MappingNode):
            return place
        place = place.outer
    while inner is not None and not isinstance(inner.container, yaml.MappingNode):
        inner = inner.outer
    if inner is not None and inner.container is root:
        key, _ = inner.container.value[inner.at]
        return None if key.value == _VERSION else inner
    return inner


def _find(root: yaml.Node, wanted: yaml.Node) -> _Place | None:
    """Find a node; None for the root itself."""
    ahead: list[tuple[yaml.Node, _Place | None]] = [(root, None)]
    seen: set[int] = set()
    while ahead:
        node, place = ahead.pop()
        if node is wanted:
            return place
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            ahead += [(item, _Place(node, at, place)) for at, item in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            for at, pair in enumerate(node.value):
                ahead += [(item, _Place(node, at, place)) for item in pair]
    return None
