"""Finds the prices that a model's name and region lead to: the operator's, then the book's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from . import _file, _names
from .overrides import Alias, Overrides, OwnModel

# What providers and SDKs say where no region raises the price.
_NO_REGION = frozenset({None, "", "global", "default", "not_available"})
# Tokens that a provider may add to those of the request, where the book does not know it.
CONSTANT_TOKENS = 1_024
_OwnPart = _file.Provider(
    models={},
    names={},
    dated=frozenset(),
    auto_tiers=(),
    constant_tokens=CONSTANT_TOKENS,
    ceiling=_file.Ceiling(),
)
_Found = TypeVar("_Found", OwnModel, Alias)
_Value = TypeVar("_Value")


class Match(NamedTuple):
    """What a name leads to.

    Attributes:
        provider: Whose price list it is.
        part: This provider's part of the book.
        key: The book's key, or the operator's.
        model: Its prices; the operator's are in `own`.
        rule: How it was found.
        region: The region that the operator's alias names.
        regions: The operator's prices for single regions.
    """

    provider: str
    part: _file.Provider
    key: str
    model: _file.Model
    rule: str
    region: str | None = None
    regions: Mapping[str, tuple[_file.Row, ...]] = {}


class Regional(NamedTuple):
    """The prices of a model in a region: rows, and what token prices are multiplied by."""

    model: _file.Model
    numerator: int = 1
    denominator: int = 1


class Matcher:
    """Looks names up; providers and models are decoded when first asked for."""

    def __init__(self, body: _file.Body, overrides: Overrides) -> None:
        self._body = body
        self._overrides = overrides
        self._own_models = self._by_canonical(overrides.models)
        self._own_aliases = self._by_canonical(overrides.aliases)
        self._own_fees = self._by_canonical(overrides.fees)
        self._parts: dict[str, _file.Provider] = {}
        self._names: dict[str, frozenset[str]] = {}
        self._models: dict[tuple[str, str, str], _file.Model] = {}

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider of the book and of the operator."""
        return tuple(sorted({*self._body.providers, *self._own_models}))

    def canonical(self, provider: str) -> str:
        """Return the book's name of a provider."""
        return self._body.aliases.get(provider, provider)

    def part(self, provider: str) -> _file.Provider | None:
        """Return a provider's part of the book, None when the book and the operator lack it.

        Raises:
            PriceBookError: It can't be read.
        """
        name = self.canonical(provider)
        part = self._parts.get(name)
        if part is None:
            part = _file.provider(self._body, name)
            if part is None and name in self._own_models:
                part = _OwnPart
            if part is not None:
                self._parts[name] = part
        return part

    def names(self, provider: str) -> Iterator[str]:
        """Yield the names of a provider's models, the operator's too, in lower case."""
        part = self.part(provider)
        for names in (
            () if part is None else {**part.models, **part.names},
            self._own_models.get(provider, ()),
            self._own_aliases.get(provider, ()),
        ):
            yield from (name.lower().rstrip("*") for name in names)

    def match(self, provider: str, name: str) -> Match | None:
        """Return what a name leads to: by the operator's aliases, his prices, or the book.

        Raises:
            PriceBookError: The provider's or the model's part of the book can't be read.
        """
        own = self.canonical(provider)
        alias = self._own(self._own_aliases.get(own), own, name)
        if alias is None:
            return self._find(own, name)
        found = self._find(self.canonical(alias[1].provider), alias[1].model)
        return found and found._replace(rule="operator", region=alias[1].region)

    def in_region(self, match: Match, region: str | None) -> Regional | None:
        """Return the prices in a region, None when it has its own ones and nobody knows them."""
        region = region or match.region
        if region in _NO_REGION:
            return Regional(match.model)
        own = match.regions.get(str(region).lower())
        if own:
            return Regional(msgspec.structs.replace(match.model, own=own))
        regions = match.model.regions
        if not regions:
            return Regional(match.model)
        entry = regions.get(str(region).lower(), regions.get("*"))
        if entry is None:
            return None
        if not isinstance(entry, str):
            return Regional(match.model, *entry)
        there = self._model(match.provider, match.part, entry)
        if match.model.own:
            there = msgspec.structs.replace(there, own=match.model.own)
        return Regional(there)

    def region_of(
        self, provider: str, host: str, asked: str | None, said: str | None
    ) -> str | None:
        """Return where a call ran: what the answer says, what was asked for, or the host's."""
        if said is not None or asked is not None:
            return asked if said is None else said
        part = self.part(provider)
        return None if part is None else _region_of_host(part.hosts, host.lower())

    def fee(self, provider: str, unit: str) -> tuple[str, int] | None:
        """Return the id and the price in pico-USD of one of a unit, whatever the model."""
        name = self.canonical(provider)
        own = self._own_fees.get(name, {}).get(unit)
        if own is not None:
            return f"own:{name}:{unit}", own
        part = self.part(name)
        price = None if part is None else part.fees.get(unit)
        return None if price is None else (f"{name}:{unit}", price)

    def reserve(self, unit: str, otherwise: int | None) -> int | None:
        """Return the most of a unit that a call is taken to use where nothing limits it."""
        return self._overrides.reserves.get(unit, otherwise)

    def _find(self, provider: str, name: str) -> Match | None:
        booked = self._in_book(provider, name)
        own = self._own(self._own_models.get(provider), provider, name)
        if own is not None:
            key, prices = own
            part = self.part(provider) or _OwnPart
            model = self._with_own(provider, key, booked, prices)
            return Match(provider, part, key, model, "override", None, prices.regions)
        if booked is not None:
            prices_of_key = self._own_models.get(booked.provider, {}).get(booked.key.lower())
            if prices_of_key is not None:
                model = self._with_own(booked.provider, booked.key, booked, prices_of_key)
                return booked._replace(model=model, regions=prices_of_key.regions)
        return booked

    def _in_book(self, provider: str, name: str) -> Match | None:
        part = self.part(provider)
        if part is None:
            return None
        for seller in (provider, *part.fallbacks):
            theirs = self.part(seller)
            if theirs is None:
                continue
            found = _names.resolve(theirs, self._spellings(seller), name)
            if found is not None:
                key, rule = found
                return Match(seller, theirs, key, self._model(seller, theirs, key), rule)
        return None

    def _model(self, provider: str, part: _file.Provider, key: str) -> _file.Model:
        place = (provider, key, "")
        model = self._models.get(place)
        if model is None:
            model = self._models[place] = _file.model(part, key)
        return model

    def _with_own(
        self, provider: str, key: str, booked: Match | None, prices: OwnModel
    ) -> _file.Model:
        place = (provider, f"own:{key}", "" if booked is None else booked.key)
        model = self._models.get(place)
        if model is None:
            base = _file.Model(None, None, ()) if booked is None else booked.model
            model = msgspec.structs.replace(
                base,
                own=prices.rows,
                context_window=prices.context_window or base.context_window,
                max_output_tokens=prices.max_output_tokens or base.max_output_tokens,
            )
            self._models[place] = model
        return model

    def _spellings(self, provider: str) -> frozenset[str]:
        """Return every name of a provider."""
        found = self._names.get(provider)
        if found is None:
            others = (alias for alias, name in self._body.aliases.items() if name == provider)
            found = self._names[provider] = frozenset((provider, *others))
        return found

    def _own(
        self, table: Mapping[str, _Found] | None, provider: str, name: str
    ) -> tuple[str, _Found] | None:
        """Find a name of the operator's: as it is written, else by the longest `…*`."""
        if not table:
            return None
        plain = name.strip().lower()
        if plain in table:
            return plain, table[plain]
        plain = _names.plain_name(self._spellings(provider), name)
        if plain in table:
            return plain, table[plain]
        fits = [key for key in table if key.endswith("*") and plain.startswith(key[:-1])]
        best = max(fits, key=len, default=None)
        return None if best is None else (best, table[best])

    def _by_canonical(self, table: Mapping[str, dict[str, _Value]]) -> dict[str, dict[str, _Value]]:
        found: dict[str, dict[str, _Value]] = {}
        for provider, entries in table.items():
            found.setdefault(self.canonical(provider), {}).update(entries)
        return found


def _region_of_host(hosts: Mapping[str, str], host: str) -> str | None:
    region = hosts.get(host)
    if region is not None:
        return region
    for pattern, named in hosts.items():
        before, star, after = pattern.partition("*")
        if star and host.startswith(before) and host.endswith(after):
            inside = host[len(before) : len(host) - len(after)]
            return inside if named == "*" else named
    return None
