"""Walks a YAML document whose nodes know their lines: every error names file, line and key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

import yaml

from .errors import ConfigError


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
            return yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f":{mark.line + 1}" if mark is not None else ""
            problem = getattr(error, "problem", None) or str(error)
            raise ConfigError(f"{self.source}{line}: not YAML: {problem}") from error
        except RecursionError as error:
            raise ConfigError(f"{self.source}: lists or keys are nested too deeply") from error

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
