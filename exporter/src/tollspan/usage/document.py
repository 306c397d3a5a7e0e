"""Walks a YAML document whose nodes know their lines: every error names file, line and key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import yaml

from .errors import ConfigError

MOST_DOCUMENT_BYTES = 16 << 20
# libyaml's is some times quicker, and limits how deep a document may be nested.
_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_document(path: Path) -> str:
    """Read a document's text from a file.

    Raises:
        ConfigError: It can't be read, is no text, or is too large for a document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MOST_DOCUMENT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can't be read: {reason}") from error
    if len(data) > MOST_DOCUMENT_BYTES:
        raise ConfigError(
            f"{path}: is larger than {MOST_DOCUMENT_BYTES >> 20} MiB, which no such document is"
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}:{line}: is no text in UTF-8 (byte 0x{data[error.start]:02x})"
        ) from error


class DocumentReader:
    """Reads the nodes of one document; what is wrong raises `ConfigError` and says where.

    Attributes:
        source: The document's name for messages.
    """

    def __init__(self, source: str) -> None:
        self.source = source

    def compose(self, text: str) -> yaml.Node | None:
        """Return the document's root node, None when there is nothing in it.

        Raises:
            ConfigError: It is no YAML.
        """
        try:
            return yaml.compose(text, Loader=_LOADER)
        except RecursionError as error:
            raise ConfigError(
                f"{self.source}: not YAML that can be read: nested too deep"
            ) from error
        except UnicodeEncodeError as error:
            line = text.count("\n", 0, error.start) + 1
            raise ConfigError(f"{self.source}:{line}: half of a surrogate pair") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{self.source}{_place(error, text)}") from error

    def mapping(self, node: yaml.Node, name: str) -> dict[str, yaml.Node]:
        """Return the values of a mapping by key; each key once."""
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{name} is no mapping of keys to values")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            text = self.text(key, f"a key of {name}")
            if text in found:
                self.fail(key, f"`{text}` is written twice in {name}")
            found[text] = value
        return found

    def items(self, node: yaml.Node) -> list[yaml.Node]:
        """Return the items of a list; of anything else, itself."""
        return list(node.value) if isinstance(node, yaml.SequenceNode) else [node]

    def only(self, keys: Mapping[str, yaml.Node], known: tuple[str, ...], name: str) -> None:
        """Refuse a key that isn't known."""
        for key, value in keys.items():
            if key not in known:
                self.fail(value, f"unknown key `{key}` in {name}; known: {', '.join(known)}")

    def text(self, node: yaml.Node, name: str) -> str:
        """Return a plain value as it is written."""
        if not isinstance(node, yaml.ScalarNode) or not isinstance(node.value, str):
            self.fail(node, f"`{name}` is no plain value")
        return node.value

    def is_null(self, node: yaml.Node) -> bool:
        """Say whether a value is written as none: `null`, `~`, or left out."""
        return bool(node.tag == "tag:yaml.org,2002:null")

    def fail(self, node: yaml.Node, problem: str) -> NoReturn:
        """Say what is wrong at a node.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(f"{self.source}:{node.start_mark.line + 1}: {problem}")


def _place(error: yaml.YAMLError, text: str) -> str:
    """Say where a text is no YAML, and why."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f":{line}: not YAML: the character U+{_code(error.character):04X} is not allowed"
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f": not YAML: {error}"
    # An end that comes too early is told as the line behind the last.
    line = min(error.problem_mark.line, text.rstrip().count("\n"))
    start = error.context_mark.line if error.context_mark is not None else line
    since = f" ({error.context} that begins in line {start + 1})" if start != line else ""
    return f":{line + 1}: not YAML: {error.problem}{since}"


def _code(character: object) -> int:
    return ord(character) if isinstance(character, str) else int(str(character))
