"""Reads `tollspan.yaml` into rules; every error names the file, the line, the key and the fix."""

from __future__ import annotations

import re
from decimal import Decimal
from itertools import chain
from pathlib import Path
from typing import TypeVar, get_args

import yaml

from tollspan.usage import ConfigError, DocumentReader, read_document

from .allowances import Allowance
from .document_allowance import ALLOW_UP_TO, read_allowance
from .document_conditions import read_condition
from .document_limits import read_amount, read_limits
from .document_plans import read_assign, read_plans
from .document_windows import read_window
from .durations import read_duration
from .finishing import read_finish_reserve
from .leases import OWN_AUTHORITIES, SHARED_SCHEMES
from .on_exceed import read_on_exceed
from .plans import is_key
from .policy_document import read_policies
from .ports import OnUnavailable, OnUnbounded, OnUnboundedInput, OnUnpriced
from .rules import OWNERS, SUBJECTS, BoundKind, Budget, Condition, RuleSet

DOCUMENT_KEYS = (
    "version",
    "authority",
    "defaults",
    "budgets",
    "plans",
    "assign",
    "policies",
    "hosts",
)
DEFAULTS_KEYS = ("on_unavailable", "on_unbounded", "on_unbounded_input", "on_unpriced")
BUDGET_KEYS = (
    "id",
    "limit",
    "limits",
    "window",
    "per",
    "where",
    "on_exceed",
    "bound",
    "finish_reserve",
    "cooldown",
    "warn_at",
    "message",
    "upgrade_url",
)
_SHARE = re.compile(r"[01]?\.?[0-9]{1,9}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
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
    reader = RulesReader(source)
    root = reader.compose(text)
    if root is None:
        raise ConfigError(f"{source}: is empty; it needs at least `version: 1`")
    return reader.rules(root)


class RulesReader(DocumentReader):
    """Reads the parts of the rules' document."""

    def rules(self, root: yaml.Node) -> RuleSet:
        """Read the whole document."""
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
        seen: set[str] = set()
        budgets = self._budgets(keys.get("budgets"), seen)
        plans = read_plans(self, keys.get("plans"), lambda node: self._budgets(node, seen))
        return RuleSet(
            budgets=(*budgets, *chain.from_iterable(plans.values())),
            policies=read_policies(self, keys.get("policies"), seen),
            on_unavailable=self._on_unavailable(chosen.get("on_unavailable")),
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
            assign=read_assign(self, keys.get("assign"), plans),
            hosts=self._hosts(keys.get("hosts")),
            authority=self._authority(keys.get("authority")),
            source=self.source,
        )

    def _on_unavailable(self, node: yaml.Node | None) -> OnUnavailable | Allowance:
        if isinstance(node, yaml.MappingNode):
            return read_allowance(self, node)
        if node is None or self.text(node, "on_unavailable") == "deny":
            return "deny"
        if self.text(node, "on_unavailable") == "allow":
            return "allow"
        return self.fail(
            node,
            f"`on_unavailable` is {self.text(node, 'on_unavailable')!r}; expected one of "
            f"{', '.join(get_args(OnUnavailable))}, or {{{ALLOW_UP_TO}: 5%}}",
        )

    def _authority(self, node: yaml.Node | None) -> str | None:
        if node is None:
            return None
        text = self.text(node, "authority")
        if text in OWN_AUTHORITIES or text.partition("://")[0] in SHARED_SCHEMES:
            return text
        if text.startswith("sqlite:"):
            return text
        shown = text.partition(":")[0]  # the rest may be a password
        shared = (f"{one}://…" for one in SHARED_SCHEMES)
        known = ", ".join((*OWN_AUTHORITIES, "sqlite:FOLDER", *shared))
        return self.fail(
            node,
            f"`authority` begins with {shown!r}; expected one of {known}, or leave it to "
            "TOLLSPAN_AUTHORITY",
        )

    def _budgets(self, node: yaml.Node | None, seen: set[str]) -> tuple[Budget, ...]:
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, "`budgets` is no list; write one `- id: …` for each budget")
        budgets: list[Budget] = []
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
        where = self._where(keys.get("where"))
        is_of_tools = any(condition.key == "tool" for condition in where)
        limit, unit = read_amount(self, keys["limit"], "limit", is_of_tools=is_of_tools)
        per = self._per(keys.get("per"))
        exceeding = read_on_exceed(self, keys.get("on_exceed"))
        return Budget(
            id=name,
            limit=limit,
            unit=unit,
            window=read_window(self, keys.get("window")),
            per=per,
            limits=read_limits(self, keys.get("limits"), per, unit),
            where=where,
            on_exceed=exceeding.on_exceed,
            reroute=exceeding.reroute,
            clamp_minimum_tokens=exceeding.clamp_minimum_tokens,
            bound=self._choice(keys.get("bound"), "bound", get_args(BoundKind), "strict"),
            finish_reserve=read_finish_reserve(self, keys.get("finish_reserve")),
            cooldown_seconds=read_duration(self, keys.get("cooldown"), "cooldown"),
            warn_at=self._warn_at(keys.get("warn_at")),
            message=self._optional_text(keys.get("message"), "message"),
            upgrade_url=self._optional_text(keys.get("upgrade_url"), "upgrade_url"),
        )

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
            found.append(read_condition(self, key, value))
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
