"""How large a YAML document is once its aliases are written out, counted before it is built."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from .errors import ConfigError

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def check_document_size(text: str, *, source: str, most_values: int) -> None:
    """Refuse a document that unfolds to more than can be meant, as soon as that is seen.

    A few lines of YAML whose aliases name each other can stand for billions of values. What is no
    YAML is let be: whoever reads it says where it is wrong.

    Args:
        text: The document.
        source: Its name for messages.
        most_values: Keys, plain values, lists and mappings together, with what aliases stand for.

    Raises:
        ConfigError: It has more, or an alias stands for what it is in.
    """
    try:
        _count(yaml.parse(text, Loader=_LOADER), source, most_values)
    except (yaml.YAMLError, RecursionError, UnicodeEncodeError):
        return


def _count(events: Iterator[yaml.Event], source: str, most_values: int) -> None:
    counter = _Counter(source)
    for event in events:
        counter.take(event)
        if counter.total > most_values:
            raise _wrong(source, event, f"has more than {most_values:,} values up to here")


class _Counter:
    """Counts values, and knows how many each anchor names.

    Attributes:
        total: How many there are up to here.
    """

    def __init__(self, source: str) -> None:
        self.total = 0
        self._source = source
        self._sizes: dict[str, int] = {}
        self._open: list[tuple[str | None, int]] = []

    def take(self, event: yaml.Event) -> None:
        """Count what an event adds."""
        if isinstance(event, yaml.AliasEvent):
            name = event.anchor or ""
            if any(anchor == name for anchor, _ in self._open if anchor):
                raise _wrong(self._source, event, f"`*{name}` stands for what it is in")
            self.total += self._sizes.get(name, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self.total))
            self.total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            self._name(anchor, self.total - before)
        elif isinstance(event, yaml.ScalarEvent):
            self.total += 1
            self._name(event.anchor, 1)

    def _name(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._sizes[anchor] = size


def _wrong(source: str, event: yaml.Event, problem: str) -> ConfigError:
    mark = event.start_mark
    place = source if mark is None else f"{source}:{mark.line + 1}"
    return ConfigError(f"{place}: {problem}")
