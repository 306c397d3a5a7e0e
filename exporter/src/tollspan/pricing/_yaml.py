"""Reads `prices.yaml`, the operator's own prices; every error names file, line, key and the fix."""

from __future__ import annotations

import hashlib
import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import msgspec
import yaml

from tollspan.usage import (
    PICOUSD_PER_USD,
    TOKEN_BUCKETS,
    TOOL_CALLS,
    TOOL_PROVIDER,
    UNITS,
    ConfigError,
    DocumentReader,
    parse_usd,
    read_document,
)

from ._file import Row
from .overrides import Alias, Overrides, OwnModel

_KEYS = ("version", "models", "aliases", "deployments", "tools", "fees", "reserves")
_PRICE_KEYS = (
    "usd_per_million", "usd_each", "from", "before", "tier", "region", "above_input_tokens",
    "settle", "context_window", "max_output_tokens",
)  # fmt: skip
_TOOL_KEYS = ("usd_each", "from", "before")
_UNIT = re.compile(r"[a-z][a-z0-9_]*(?::[^\s:]{1,64})?")
_OWN_UNIT = re.compile(r"[a-z][a-z0-9_]{0,63}")
_NAME = re.compile(r"[^\s/]+/\S+")
_DEPLOYMENTS_OF = "azure.ai.openai"
_SHORT = {"input": "input_uncached"}
_MILLION = 10**6
_OWN = -1
_ANY_TIER = "*"
_STANDARD = "standard"


def read_overrides(path: Path) -> Overrides:
    """Read the operator's own prices from a file.

    Raises:
        ConfigError: It can't be read, or something in it is wrong.
    """
    text = read_document(path)
    found = parse_overrides(text, source=str(path))
    return msgspec.structs.replace(found, sha256=hashlib.sha256(text.encode()).hexdigest())


def parse_overrides(text: str, *, source: str = "prices") -> Overrides:
    """Read the operator's own prices from text; `source` is the name that messages use.

    Raises:
        ConfigError: Something in it is wrong.
    """
    reader = _Reader(source)
    root = reader.compose(text)
    if root is None:
        raise ConfigError(f"{source}: is empty; it needs at least `version: 1`")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return msgspec.structs.replace(reader.overrides(root), sha256=digest)


class _Reader(DocumentReader):
    _own_units: frozenset[str] = frozenset()

    def overrides(self, root: yaml.Node) -> Overrides:
        keys = self.mapping(root, "the document")
        self.only(keys, _KEYS, "the document")
        version = keys.get("version")
        if version is None:
            self.fail(root, "`version` is missing; write `version: 1`")
        if self.text(version, "version") != "1":
            self.fail(version, f"`version` is {self.text(version, 'version')!r}; expected 1")
        models: dict[str, dict[str, OwnModel]] = {}
        for name, node in self._section(keys, "models"):
            provider, model = self._place(node, name)
            models.setdefault(provider, {})[model] = self._model(node, f"models.{name}")
        for name, node in self._section(keys, "tools"):
            models.setdefault(TOOL_PROVIDER, {})[name.lower()] = self._tool(node, f"tools.{name}")
        self._own_units = _units(models.get(TOOL_PROVIDER, {}))
        return Overrides(
            source=self.source,
            models=models,
            aliases=self._aliases(keys),
            fees={
                provider: {
                    self._unit(node, unit): self._picousd(node, unit)
                    for unit, node in self.mapping(fees, f"fees.{provider}").items()
                }
                for provider, fees in self._section(keys, "fees")
            },
            reserves=dict(self._reserve(*item) for item in self._section(keys, "reserves")),
        )

    def _section(self, keys: dict[str, yaml.Node], name: str) -> list[tuple[str, yaml.Node]]:
        node = keys.get(name)
        return [] if node is None else list(self.mapping(node, name).items())

    def _place(self, node: yaml.Node, name: str) -> tuple[str, str]:
        if not _NAME.fullmatch(name):
            self.fail(node, f"{name!r} is no provider and model; write `openai/{name}`, say")
        provider, _, model = name.partition("/")
        return provider.lower(), model.lower()

    def _model(self, node: yaml.Node, name: str, known: tuple[str, ...] = _PRICE_KEYS) -> OwnModel:
        rows: list[Row] = []
        regions: dict[str, list[Row]] = {}
        limits: dict[str, int] = {}
        for item in self.items(node):
            keys = self.mapping(item, name)
            self.only(keys, known, name)
            region = self.text(keys["region"], "region").lower() if "region" in keys else None
            into = rows if region is None else regions.setdefault(region, [])
            for row in self._rows(item, keys, name, is_tool=known is _TOOL_KEYS):
                clash = next((other for other in into if _overlap(row, other)), None)
                if clash is not None:
                    self.fail(
                        item,
                        f"{name}: two entries hold for the same calls; give each its "
                        "own `from` and `before`, `tier`, `region` or `above_input_tokens`",
                    )
                into.append(row)
            for limit in ("context_window", "max_output_tokens"):
                if limit in keys:
                    limits[limit] = self._count(keys[limit], limit)
        if not rows and not regions and not limits:
            what = " or ".join(f"`{key}`" for key in known if key.startswith("usd_"))
            self.fail(node, f"{name} says nothing; give it {what}")
        return OwnModel(
            rows=tuple(rows),
            regions={region: tuple(found) for region, found in regions.items()},
            context_window=limits.get("context_window"),
            max_output_tokens=limits.get("max_output_tokens"),
        )

    def _rows(
        self, node: yaml.Node, keys: dict[str, yaml.Node], name: str, *, is_tool: bool
    ) -> list[Row]:
        """Return the rows of one entry; what is no token holds for all tiers, if none is named."""
        tokens: dict[str, Decimal] = {}
        units: dict[str, Decimal] = {}
        if "usd_per_million" in keys:
            for key, value in self.mapping(keys["usd_per_million"], "usd_per_million").items():
                tokens[self._bucket(value, key)] = self._usd(value, key) / _MILLION
        if "usd_each" in keys:
            for key, value in self.mapping(keys["usd_each"], "usd_each").items():
                unit = self._unit_of_tool(value, key) if is_tool else self._unit(value, key)
                units[unit] = self._usd(value, key)
        if not tokens and not units:
            return []
        tier = self.text(keys["tier"], "tier") if "tier" in keys else None
        if tokens and tier is None and units:
            return [
                self._row(node, keys, _STANDARD, tokens, name),
                self._row(node, keys, _ANY_TIER, units, name),
            ]
        if units and tier is None:
            tiers = (_STANDARD, _ANY_TIER)
            return [self._row(node, keys, each, units, name) for each in tiers]
        return [self._row(node, keys, tier or _STANDARD, {**tokens, **units}, name)]

    def _row(
        self,
        node: yaml.Node,
        keys: dict[str, yaml.Node],
        tier: str,
        prices: dict[str, Decimal],
        name: str,
    ) -> Row:
        since, until = (self._day(keys.get(key), key) for key in ("from", "before"))
        if since is not None and until is not None and since >= until:
            self.fail(node, f"{name}: `from` is {since}, and not earlier than `before`, {until}")
        above = keys.get("above_input_tokens")
        settle = self.text(keys["settle"], "settle") if "settle" in keys else "book"
        if settle not in {"book", "reported"}:
            self.fail(keys["settle"], f"`settle` is {settle!r}; expected one of book, reported")
        per = 1
        while any(price * PICOUSD_PER_USD * per % 1 for price in prices.values()):
            per *= 10
        return Row(
            tier=tier,
            valid_from=since,
            valid_to=until,
            above=0 if above is None else self._count(above, "above_input_tokens"),
            per=per,
            prices={unit: int(price * PICOUSD_PER_USD * per) for unit, price in prices.items()},
            source=_OWN,
            is_reported=settle == "reported",
        )

    def _tool(self, node: yaml.Node, name: str) -> OwnModel:
        if isinstance(node, yaml.ScalarNode):
            prices = {TOOL_CALLS: self._usd(node, name)}
            return OwnModel(
                rows=tuple(
                    self._row(node, {}, tier, prices, name) for tier in (_STANDARD, _ANY_TIER)
                )
            )
        return self._model(node, name, _TOOL_KEYS)

    def _aliases(self, keys: dict[str, yaml.Node]) -> dict[str, dict[str, Alias]]:
        found: dict[str, dict[str, Alias]] = {}
        for name, node in self._section(keys, "aliases"):
            provider, model = self._place(node, name)
            found.setdefault(provider, {})[model] = self._alias(node, f"aliases.{name}", None)
        for name, node in self._section(keys, "deployments"):
            alias = self._alias(node, f"deployments.{name}", _DEPLOYMENTS_OF)
            found.setdefault(_DEPLOYMENTS_OF, {})[name.lower()] = alias
        return found

    def _alias(self, node: yaml.Node, name: str, provider: str | None) -> Alias:
        region: str | None = None
        target = node
        if not isinstance(node, yaml.ScalarNode):
            keys = self.mapping(node, name)
            self.only(keys, ("model", "region"), name)
            if "model" not in keys:
                self.fail(node, f"{name} has no `model`")
            target = keys["model"]
            region = self.text(keys["region"], "region").lower() if "region" in keys else None
        text = self.text(target, name)
        if provider is None:
            return Alias(
                **dict(zip(("provider", "model"), self._place(target, text), strict=True)),
                region=region,
            )
        return Alias(provider=provider, model=text, region=region)

    def _reserve(self, unit: str, node: yaml.Node) -> tuple[str, int | None]:
        if unit != "input_tokens" and unit not in self._own_units:
            self._unit(node, unit)
        if self.text(node, unit) == "none":
            return unit, None
        return unit, self._count(node, unit)

    def _bucket(self, node: yaml.Node, key: str) -> str:
        bucket = _SHORT.get(key, key)
        if bucket not in TOKEN_BUCKETS:
            known = ", ".join(("input", *TOKEN_BUCKETS[1:]))
            self.fail(node, f"unknown kind of token `{key}`; known: {known}")
        return bucket

    def _unit(self, node: yaml.Node, unit: str) -> str:
        if not _UNIT.fullmatch(unit) or unit.partition(":")[0] not in UNITS:
            self.fail(node, f"unknown unit `{unit}`; known: {', '.join(UNITS)}")
        return unit

    def _unit_of_tool(self, node: yaml.Node, unit: str) -> str:
        """Read a unit of the operator's own tool: whatever `report_usage` calls it."""
        if not _OWN_UNIT.fullmatch(unit) or unit in TOKEN_BUCKETS:
            self.fail(node, f"`{unit}` is no unit; expected a name such as `pages`")
        return unit

    def _usd(self, node: yaml.Node, name: str) -> Decimal:
        try:
            return parse_usd(self.text(node, name).strip())
        except ValueError as error:
            self.fail(node, f"`{name}` is {error}")

    def _picousd(self, node: yaml.Node, name: str) -> int:
        return int(self._usd(node, name) * PICOUSD_PER_USD)

    def _count(self, node: yaml.Node, name: str) -> int:
        text = self.text(node, name)
        if not re.fullmatch("[0-9][0-9_]{0,14}", text):
            self.fail(node, f"`{name}` is {text!r}; expected a whole number, 0 or more")
        return int(text)

    def _day(self, node: yaml.Node | None, name: str) -> str | None:
        if node is None:
            return None
        text = self.text(node, name)
        try:
            return date.fromisoformat(text).isoformat()
        except ValueError:
            self.fail(node, f"`{name}` is {text!r}; expected a day such as 2026-11-22")


def _units(models: dict[str, OwnModel]) -> frozenset[str]:
    """Return every unit that some entry prices."""
    return frozenset(unit for model in models.values() for row in model.rows for unit in row.prices)


def _overlap(one: Row, other: Row) -> bool:
    """Say whether two rows price the same: tokens of any kind, or a unit."""
    if (one.tier, one.above) != (other.tier, other.above):
        return False
    if one.prices.keys().isdisjoint(other.prices) and not (_has_tokens(one) and _has_tokens(other)):
        return False
    latest_start = max(one.valid_from or "", other.valid_from or "")
    return latest_start < min(one.valid_to or "9999", other.valid_to or "9999")


def _has_tokens(row: Row) -> bool:
    return not row.prices.keys().isdisjoint(TOKEN_BUCKETS)
