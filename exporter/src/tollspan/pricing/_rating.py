"""Prices what a call used, line by line: models, tiers, regions, iterations, tools, fees."""

from __future__ import annotations

from math import lcm
from typing import NamedTuple

import msgspec

from tollspan.usage import (
    PICOUSD_PER_NANOUSD,
    TOKEN_BUCKETS,
    Cost,
    Request,
    Response,
    Tokens,
    Usage,
)

from . import _file, _rows
from ._matching import Match, Matcher, Regional

_REQUESTS = "requests"
_WITHIN = {"audio_in_ms": "audio_ms", "audio_out_ms": "audio_ms"}


class PriceLine(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a cost: so many of a bucket or unit at an exact price.

    Attributes:
        model: Key of the model that priced it, None for a ceiling or for no price.
        unit: The bucket of tokens, or the unit.
        count: How many.
        picousd: Price of `per` of them, None where there is no price.
        per: Tokens or units that the price is for.
        row_id: The row or fee that the price is from.
    """

    model: str | None
    unit: str
    count: int
    picousd: int | None
    per: int = 1
    row_id: str | None = None


class Priced(NamedTuple):
    """The lines of one run of a model.

    Attributes:
        match: What its name led to, None when nothing did.
        rows: The rows of its tier and time, empty without any.
        regional: The prices of its region.
        row: The row of its context tier.
        lines: Its tokens, priced.
        is_ceiling: The provider's dearest price was taken.
        unpriced: Buckets that were used, have no price, and are in the ceiling's lines.
    """

    match: Match | None
    rows: tuple[_file.Row, ...]
    regional: Regional | None
    row: _file.Row | None
    lines: tuple[PriceLine, ...]
    is_ceiling: bool = False
    unpriced: tuple[str, ...] = ()


class Rated(NamedTuple):
    """A call's cost, what it is made of, and its first run of a model."""

    cost: Cost
    lines: tuple[PriceLine, ...]
    first: Priced


def rate(
    matcher: Matcher,
    book_id: str,
    request: Request,
    response: Response,
    usage: Usage,
    at_unix_ns: int,
    *,
    ceiling: bool,
) -> Rated:
    """Price what a call used; every run of a model by itself, what is no token once."""
    region = matcher.region_of(request.provider, request.host, request.region, response.region)
    where = _Place(
        matcher=matcher,
        request=request,
        response=response,
        tier=_rows.tier_of(request.service_tier, response.service_tier),
        region=region,
        at_unix_ns=at_unix_ns,
        ceiling=ceiling,
    )
    runs = [where.run(run, run.model) for run in usage.iterations] or [where.run(usage, None)]
    first = runs[0] if not usage.iterations else where.run(Tokens(), None)
    units = where.units(first, usage)
    lines = (*(line for run in runs for line in run.lines), *units)
    settled = _settle(request, usage, first, runs, lines)
    return Rated(msgspec.structs.replace(settled, book_id=book_id), lines, first)


class _Place(NamedTuple):
    """Where, when and how a call ran."""

    matcher: Matcher
    request: Request
    response: Response
    tier: str
    region: str | None
    at_unix_ns: int
    ceiling: bool

    def run(self, tokens: Tokens, model: str | None) -> Priced:
        """Price the tokens of one run of a model."""
        match = self._match(model)
        regional = None if match is None else self.matcher.in_region(match, self._region(match))
        rows: tuple[_file.Row, ...] = ()
        if regional is not None:
            rows = _rows.active(regional.model, self.tier, self.at_unix_ns)
        if match is None or regional is None or not rows:
            return self._without_row(tokens, match)
        row = _rows.for_input(rows, tokens.input_tokens)
        found = _token_lines(match, row, regional, tokens)
        missing = [line for line in found if line.picousd is None]
        if missing and len(missing) == len(found) and self.ceiling:
            unpriced = tuple(line.unit for line in missing)
            return self._without_row(tokens, match)._replace(regional=regional, unpriced=unpriced)
        return Priced(match, rows, regional, row, tuple(found))

    def _match(self, model: str | None) -> Match | None:
        """Find a run's model: what the answer names, unless the operator priced what was asked."""
        provider = self.request.provider
        if model:
            return self.matcher.match(provider, model)
        said = self.response.model
        found = self.matcher.match(provider, said) if said else None
        if found is not None and (found.model.own or found.regions):
            return found
        asked = self.matcher.match(provider, self.request.model)
        return asked if found is None or (asked and asked.rule == "override") else found

    def units(self, first: Priced, usage: Usage) -> list[PriceLine]:
        """Price what is no token; a fee for each request is the provider's to know, not ours."""
        counts = {unit: count for unit, count in usage.quantities if count}
        if _REQUESTS not in counts and self._unit_price(first, _REQUESTS) is not None:
            counts[_REQUESTS] = 1
        return [self._unit_line(first, unit, count) for unit, count in sorted(counts.items())]

    def _unit_line(self, first: Priced, unit: str, count: int) -> PriceLine:
        found = self._unit_price(first, unit)
        key = None if first.match is None else first.match.key
        if found is None:
            return PriceLine(model=key, unit=unit, count=count, picousd=None)
        row_id, picousd, per = found
        return PriceLine(model=key, unit=unit, count=count, picousd=picousd, per=per, row_id=row_id)

    def _unit_price(self, first: Priced, unit: str) -> tuple[str, int, int] | None:
        if first.match is not None and first.regional is not None:
            model = first.regional.model
            found = unit_price(model, self.tier, self.at_unix_ns, unit)
            if found is not None:
                row, picousd = found
                row_id = _rows.row_id(first.match.provider, first.match.key, row)
                return row_id, picousd, row.per
        provider = self.request.provider if first.match is None else first.match.provider
        fee = self.matcher.fee(provider, unit)
        if fee is not None:
            return (*fee, 1)
        part = self.matcher.part(provider)
        if part is None or not first.is_ceiling or unit not in part.ceiling.units:
            return None
        return f"{self.matcher.canonical(provider)}:ceiling:{unit}", part.ceiling.units[unit], 1

    def _region(self, match: Match) -> str | None:
        """Return the region; what an alias of the asked name says counts for any answer."""
        if self.region is not None or match.region is not None:
            return self.region or match.region
        asked = self.matcher.match(self.request.provider, self.request.model)
        return None if asked is None else asked.region

    def _without_row(self, tokens: Tokens, match: Match | None) -> Priced:
        part = self.matcher.part(self.request.provider)
        if not self.ceiling or part is None:
            key = None if match is None else match.key
            lines = tuple(
                PriceLine(model=key, unit=unit, count=count, picousd=None)
                for unit in TOKEN_BUCKETS
                if (count := getattr(tokens, unit))
            )
            return Priced(match, (), None, None, lines)
        dearest = part.ceiling
        sides = (
            ("input", tokens.input_tokens, dearest.input_picousd, dearest.input_row),
            ("output", tokens.output_tokens, dearest.output_picousd, dearest.output_row),
        )
        lines = tuple(
            PriceLine(model=None, unit=unit, count=count, picousd=picousd, row_id=row)
            for unit, count, picousd, row in sides
        )
        return Priced(match, (), None, None, lines, is_ceiling=True)


def unit_price(
    model: _file.Model, tier: str, at_unix_ns: int, unit: str
) -> tuple[_file.Row, int] | None:
    """Return the row that prices a unit, and its price.

    What has no price of its own has that of all variants, where no variant has one; time heard or
    spoken that of the session.
    """
    found = _rows.price_of_unit(model, tier, at_unix_ns, unit)
    base, _, variant = unit.partition(":")
    if found is None and variant:
        found = _rows.price_of_unit(model, tier, at_unix_ns, base)
        if found is not None and any(name.startswith(f"{base}:") for name in found[0].prices):
            return None
    if found is None and base in _WITHIN:
        found = _rows.price_of_unit(model, tier, at_unix_ns, _WITHIN[base])
    return found


def half_even(total: int, divisor: int) -> int:
    """Divide, and round half to even."""
    amount, rest = divmod(total, divisor)
    return amount + (rest + rest > divisor or (rest + rest == divisor and amount & 1))


def _token_lines(
    match: Match, row: _file.Row, regional: Regional, tokens: Tokens
) -> list[PriceLine]:
    row_id = _rows.row_id(match.provider, match.key, row)
    found: list[PriceLine] = []
    for unit, price in zip(TOKEN_BUCKETS, _rows.vector(row), strict=True):
        count = getattr(tokens, unit)
        if not count:
            continue
        if price == _rows.UNPRICED:
            found.append(PriceLine(model=match.key, unit=unit, count=count, picousd=None))
            continue
        found.append(
            PriceLine(
                model=match.key,
                unit=unit,
                count=count,
                picousd=price * regional.numerator,
                per=row.per * regional.denominator,
                row_id=row_id,
            )
        )
    return found


def _settle(
    request: Request,
    usage: Usage,
    first: Priced,
    runs: list[Priced],
    lines: tuple[PriceLine, ...],
) -> Cost:
    if usage.status == "unknown":
        return _reported(Cost(status="unknown", is_assumed=request.is_assumed), first, usage)
    missing = [_unit_name(line, first) for line in lines if line.picousd is None]
    missing += [unit for run in runs for unit in run.unpriced]
    priced = [line for line in lines if line.picousd is not None]
    is_unpriced = not priced and (bool(missing) or any(run.row is None for run in runs))
    is_ceiling = any(run.is_ceiling for run in runs)
    cost = Cost(
        status="unpriced" if is_unpriced else "partial" if _is_open(lines) else "priced",
        amount_nanousd=None if is_unpriced else sum_of_lines(priced),
        is_assumed=request.is_assumed or is_ceiling,
        matched_key=None if first.match is None or is_ceiling else first.match.key,
        matched_by="ceiling" if is_ceiling else first.match.rule if first.match else None,
        row_ids=() if is_unpriced else _row_ids(first, priced),
        unpriced_units=tuple(dict.fromkeys(missing)),
    )
    return _reported(cost, first, usage)


def _is_open(lines: tuple[PriceLine, ...]) -> bool:
    return any(line.picousd is None for line in lines)


def sum_of_lines(lines: list[PriceLine]) -> int:
    """Add lines up exactly, and round once."""
    pers = {line.per for line in lines}
    if len(pers) == 1:
        per = pers.pop()
        total = sum(line.count * (line.picousd or 0) for line in lines)
    else:
        per = lcm(*pers)
        total = sum(line.count * (line.picousd or 0) * (per // line.per) for line in lines)
    return half_even(total, per * PICOUSD_PER_NANOUSD)


def _reported(cost: Cost, first: Priced, usage: Usage) -> Cost:
    """Keep the provider's own figure beside ours; it settles where the row says so, or ours lacks.

    A sum that leaves something out is less than what was billed; the provider's is not.
    """
    said = usage.reported_cost_picousd
    if said is None or said < 0:
        return cost
    reported = half_even(said, PICOUSD_PER_NANOUSD)
    is_settled = cost.status == "priced" and cost.matched_by != "ceiling"
    if is_settled and not _says_reported(first):
        return msgspec.structs.replace(cost, reported_nanousd=reported)
    return msgspec.structs.replace(
        cost,
        status="priced",
        amount_nanousd=reported,
        reported_nanousd=reported,
        computed_nanousd=cost.amount_nanousd,
        settled_by="reported",
        is_assumed=False,
    )


def _says_reported(first: Priced) -> bool:
    """Say whether the row that priced a call wants the provider's own figure; ours has its say."""
    if first.row is None or first.match is None:
        return False
    return first.row.is_reported or (first.row.source >= 0 and first.match.part.is_reported)


def _unit_name(line: PriceLine, first: Priced) -> str:
    key = None if first.match is None else first.match.key
    return line.unit if line.model in {None, key} else f"{line.unit}@{line.model}"


def _row_ids(first: Priced, lines: list[PriceLine]) -> tuple[str, ...]:
    ids = [line.row_id for line in lines]
    if first.match is not None and first.row is not None and not first.is_ceiling:
        ids.insert(0, _rows.row_id(first.match.provider, first.match.key, first.row))
    return tuple(dict.fromkeys(row for row in ids if row is not None))
