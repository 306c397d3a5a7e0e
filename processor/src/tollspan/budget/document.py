"""Reads `tollspan.yaml` into rules; every error names the file, the line, the key and the fix."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, get_args

import yaml

from tollspan.usage import NANOUSD_PER_USD, ConfigError, DocumentReader, read_document

from .ports import OnUnavailable, OnUnbounded, OnUnboundedInput, OnUnpriced
from .rules import Budget, RuleSet
from .windows import WINDOWS

_AMOUNT = re.compile(r"(-?[0-9][0-9_,]*(?:\.[0-9]+)?)\s*([A-Za-z]+)")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_MAX_LIMIT_NANOUSD = 1 << 60  # 1.15 billion USD: sums of two stay inside SQLite's signed 64 bits
_DEFAULTS = ("on_unavailable", "on_unbounded", "on_unbounded_input", "on_unpriced")
_Choice = TypeVar("_Choice", bound=str)


def read_rules(path: Path) -> RuleSet:
    """Read a document from a file.

    Raises:
        ConfigError: It can't be read, or something in it is wrong.
    """
    return parse_rules(read_document(path), source=str(path))


def parse_rules(text: str, *, source: str = "rules") -> RuleSet:
    """Read a document from text; `source` is the name that messages use.

    Raises:
        ConfigError: Something in it is wrong.
    """
    reader = _Reader(source)
    root = reader.compose(text)
    if root is None:
        raise ConfigError(f"{source}: is empty; it needs at least `version: 1`")
    return reader.rules(root)


class _Reader(DocumentReader):
    """Reads the parts of the rules' document."""

    def rules(self, root: yaml.Node) -> RuleSet:
        keys = self.mapping(root, "the document")
        self.only(keys, ("version", "defaults", "budgets", "hosts"), "the document")
        version = keys.get("version")
        if version is None:
            self.fail(root, "`version` is missing; write `version: 1`")
        if self.text(version, "version") != "1":
            self.fail(version, f"`version` is {self.text(version, 'version')!r}; expected 1")
        defaults = keys.get("defaults")
        chosen = self.mapping(defaults, "defaults") if defaults is not None else {}
        self.only(chosen, _DEFAULTS, "defaults")
        on_unpriced = chosen.get("on_unpriced")
        return RuleSet(
            budgets=self._budgets(keys.get("budgets")),
            on_unavailable=self._choice(
                chosen.get("on_unavailable"), "on_unavailable", get_args(OnUnavailable), "deny"
            ),
            on_unbounded=self._choice(
                chosen.get("on_unbounded"), "on_unbounded", get_args(OnUnbounded), "model_max"
            ),
            on_unbounded_input=self._choice(
                chosen.get("on_unbounded_input"),
                "on_unbounded_input",
                get_args(OnUnboundedInput),
                "window",
            ),
            on_unpriced=None
            if on_unpriced is None
            else self._choice(on_unpriced, "on_unpriced", get_args(OnUnpriced), "ceiling"),
            hosts=self._hosts(keys.get("hosts")),
            source=self.source,
        )

    def _budgets(self, node: yaml.Node | None) -> tuple[Budget, ...]:
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, "`budgets` is no list; write one `- id: …` for each budget")
        budgets: list[Budget] = []
        seen: set[str] = set()
        for item in node.value:
            budget = self._budget(item)
            if budget.id in seen:
                self.fail(item, f"two budgets have the id {budget.id!r}; ids are unique")
            seen.add(budget.id)
            budgets.append(budget)
        return tuple(budgets)

    def _budget(self, node: yaml.Node) -> Budget:
        keys = self.mapping(node, "a budget")
        self.only(keys, ("id", "limit", "window", "message", "upgrade_url"), "a budget")
        for needed in ("id", "limit"):
            if needed not in keys:
                self.fail(node, f"a budget has no `{needed}`")
        name = self.text(keys["id"], "id")
        if not _ID.fullmatch(name):
            self.fail(
                keys["id"],
                f"`id` is {name!r}; expected 1 to 128 letters, digits, `.`, `_`, `-`, "
                "the first a letter or digit",
            )
        return Budget(
            id=name,
            limit_nanousd=self._limit(keys["limit"]),
            window=self._choice(keys.get("window"), "window", WINDOWS, "lifetime"),
            message=self._optional_text(keys.get("message"), "message"),
            upgrade_url=self._optional_text(keys.get("upgrade_url"), "upgrade_url"),
        )

    def _limit(self, node: yaml.Node) -> int:
        text = self.text(node, "limit")
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            self.fail(node, f"`limit` is {text!r}; expected an amount such as `49.50 USD`")
        number, currency = match.groups()
        if currency != "USD":
            self.fail(node, f"`limit` is in {currency}; only USD is supported")
        amount = Decimal(number.replace("_", "").replace(",", "")) * NANOUSD_PER_USD
        if amount < 0:
            self.fail(node, f"`limit` is negative ({text!r}); 0 USD allows nothing that costs")
        if amount != amount.to_integral_value():
            self.fail(node, f"`limit` is {text!r}; at most 9 decimals (nano-USD) are exact")
        if amount > _MAX_LIMIT_NANOUSD:
            self.fail(node, f"`limit` is {text!r}; the largest is 1,000,000,000 USD")
        return int(amount)

    def _hosts(self, node: yaml.Node | None) -> tuple[tuple[str, str], ...]:
        if node is None:
            return ()
        pairs = self.mapping(node, "hosts")
        return tuple(
            (host.lower(), self.text(value, f"hosts.{host}")) for host, value in pairs.items()
        )

    def _optional_text(self, node: yaml.Node | None, name: str) -> str | None:
        return None if node is None else self.text(node, name)

    def _choice(
        self, node: yaml.Node | None, name: str, choices: tuple[_Choice, ...], default: _Choice
    ) -> _Choice:
        if node is None:
            return default
        text = self.text(node, name)
        for choice in choices:
            if choice == text:
                return choice
        return self.fail(node, f"`{name}` is {text!r}; expected one of {', '.join(choices)}")
