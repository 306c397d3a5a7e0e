"""Reads `tollspan.yaml` into rules; every error names the file, the line, the key and the fix."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path
from typing import TypeVar, get_args

import yaml

from tollspan.usage import BudgetUnit, ConfigError, DocumentReader, read_document

from .document_windows import read_window
from .plans import is_key
from .ports import OnUnavailable, OnUnbounded, OnUnboundedInput, OnUnpriced
from .rules import OWNERS, SUBJECTS, Budget, Condition, OnExceed, RuleSet

DOCUMENT_KEYS = ("version", "defaults", "budgets", "hosts")
DEFAULTS_KEYS = ("on_unavailable", "on_unbounded", "on_unbounded_input", "on_unpriced")
BUDGET_KEYS = (
    "id",
    "limit",
    "window",
    "per",
    "where",
    "on_exceed",
    "warn_at",
    "message",
    "upgrade_url",
)
# Commas stand between thousands alone: what is half of something elsewhere is no guess of ours.
_AMOUNT = re.compile(
    r"(-?)([0-9]{1,3}(?:,[0-9]{3})+|[0-9]+(?:_[0-9]+)*)(?:\.([0-9]+))?\s*([A-Za-z]+)"
)
_SHARE = re.compile(r"[01]?\.?[0-9]{1,9}")
_UNITS: dict[str, BudgetUnit] = {
    "USD": "usd",
    "token": "tokens",
    "tokens": "tokens",
    "call": "calls",
    "calls": "calls",
}
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# Sums of two of the largest limits stay inside SQLite's signed 64 bits.
_MOST: dict[BudgetUnit, int] = {"usd": 10**18, "tokens": 10**15, "calls": 10**15}
_DECIMALS: dict[BudgetUnit, int] = {"usd": 9, "tokens": 0, "calls": 0}
_MOST_DIGITS = 20
_TOO_MUCH: int = 10**_MOST_DIGITS
_LARGEST: dict[BudgetUnit, str] = {
    "usd": "1,000,000,000 USD",
    "tokens": "10^15 tokens",
    "calls": "10^15 calls",
}
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
        self.only(keys, DOCUMENT_KEYS, "the document")
        version = keys.get("version")
        if version is None:
            self.fail(root, "`version` is missing; write `version: 1`")
        if self.text(version, "version") != "1":
            self.fail(version, f"`version` is {self.text(version, 'version')!r}; expected 1")
        defaults = keys.get("defaults")
        chosen = self.mapping(defaults, "defaults") if defaults is not None else {}
        self.only(chosen, DEFAULTS_KEYS, "defaults")
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
        self.only(keys, BUDGET_KEYS, "a budget")
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
        limit, unit = self._limit(keys["limit"])
        return Budget(
            id=name,
            limit=limit,
            unit=unit,
            window=read_window(self, keys.get("window")),
            per=self._per(keys.get("per")),
            where=self._where(keys.get("where")),
            on_exceed=self._choice(keys.get("on_exceed"), "on_exceed", get_args(OnExceed), "deny"),
            warn_at=self._warn_at(keys.get("warn_at")),
            message=self._optional_text(keys.get("message"), "message"),
            upgrade_url=self._optional_text(keys.get("upgrade_url"), "upgrade_url"),
        )

    def _limit(self, node: yaml.Node) -> tuple[int, BudgetUnit]:
        text = self.text(node, "limit")
        match = _AMOUNT.fullmatch(text.strip())
        if match is None:
            self.fail(
                node,
                f"`limit` is {text!r}; expected an amount such as `49.50 USD`, `50000 tokens` or "
                "`100 calls`",
            )
        sign, whole, part, word = match.groups("")
        unit = _UNITS.get(word)
        if unit is None:
            self.fail(node, f"`limit` is in {word}; expected USD, tokens or calls")
        decimals = _DECIMALS[unit]
        part = part.rstrip("0")
        if len(part) > decimals:
            finest = "at most 9 decimals (nano-USD) are exact" if unit == "usd" else "no decimals"
            self.fail(node, f"`limit` is {text!r}; {finest}")
        digits = re.sub("[_,]", "", whole).lstrip("0") + part.ljust(decimals, "0")
        amount = int(digits or "0") if len(digits) <= _MOST_DIGITS else _TOO_MUCH
        if sign and amount:
            self.fail(node, f"`limit` is negative ({text!r}); 0 {word} allows nothing")
        if amount > _MOST[unit]:
            self.fail(node, f"`limit` is {text!r}; the largest is {_LARGEST[unit]}")
        return amount, unit

    def _per(self, node: yaml.Node | None) -> tuple[str, ...]:
        if node is None:
            return ()
        found: list[str] = []
        for item in self.items(node):
            key = self.text(item, "per")
            if not is_key(key, subjects=False):
                self.fail(
                    item,
                    f"`per` names {key!r}; expected {', '.join(OWNERS)} or tag.<name>",
                )
            if key in found:
                self.fail(item, f"`per` names {key!r} twice")
            found.append(key)
        return tuple(found)

    def _where(self, node: yaml.Node | None) -> tuple[Condition, ...]:
        if node is None:
            return ()
        found: list[Condition] = []
        for key, value in self.mapping(node, "where").items():
            if not is_key(key, subjects=True):
                known = ", ".join((*SUBJECTS, *OWNERS))
                self.fail(value, f"`where` names {key!r}; expected {known} or tag.<name>")
            items = self.items(value)
            patterns = tuple(self.text(item, f"where.{key}") for item in items)
            if not patterns or "" in patterns or any(map(self.is_null, items)):
                self.fail(value, f"`where.{key}` is empty; expected a value, or a list of them")
            found.append(Condition(key, patterns))
        return tuple(found)

    def _warn_at(self, node: yaml.Node | None) -> tuple[Decimal, ...]:
        if node is None:
            return ()
        found: list[Decimal] = []
        for item in self.items(node):
            text = self.text(item, "warn_at")
            if not _SHARE.fullmatch(text) or not 0 < Decimal(text) <= 1:
                self.fail(
                    item, f"`warn_at` is {text!r}; expected shares of the limit such as [0.5, 0.8]"
                )
            found.append(Decimal(text))
        return tuple(sorted(set(found)))

    def _hosts(self, node: yaml.Node | None) -> tuple[tuple[str, str], ...]:
        if node is None:
            return ()
        pairs = self.mapping(node, "hosts")
        return tuple(
            (host.lower(), self.text(value, f"hosts.{host}")) for host, value in pairs.items()
        )

    def _optional_text(self, node: yaml.Node | None, name: str) -> str | None:
        return None if node is None or self.is_null(node) else self.text(node, name)

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
