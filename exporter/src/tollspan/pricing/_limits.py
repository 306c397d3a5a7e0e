"""How much a call can use at most, and what the dearest of it costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from types import MappingProxyType
from typing import NamedTuple

from tollspan.usage import TOKEN_BUCKETS, Request

from . import _rows
from ._matching import Match, Matcher, Regional
from ._rating import unit_price

# Calls of a server-side tool that nothing limits: the most in one answer among our recordings.
# `reserves` in `prices.yaml` says otherwise.
RESERVE = 10
_BUCKETS = frozenset(TOKEN_BUCKETS)
_RESERVED_INPUT = "input_tokens"
_REQUESTS = "requests"
# What the names of tools at the provider end in: beside them tokens are billed as always.
_TOOLS = ("searches", "fetches", "sessions", "executions")


class Step(NamedTuple):
    """Dearest prices of a token for calls with more than `above` input tokens, in pico-USD."""

    above: int
    input_picousd: int
    output_picousd: int | None


class Limits(NamedTuple):
    """Tokens that a call can have at most.

    Attributes:
        input_tokens: All that is read in all rounds where bytes are no bound, else None: ask them.
        rounds: How often the input is read.
        is_input_unknown: Bytes are no bound and no window is known.
        output: Output tokens of all choices and of predictions; None when nothing limits them.
        input_reasons, reasons: Why, without and with what concerns the output.
    """

    input_tokens: int | None
    rounds: int
    is_input_unknown: bool
    output: int | None
    input_reasons: tuple[str, ...]
    reasons: tuple[str, ...]

    @classmethod
    def of(
        cls,
        request: Request,
        window: int | None,
        max_output: int | None,
        *,
        rounds: int = 1,
        reserve: int | None = None,
    ) -> Limits:
        """Work out the limits of a request for a model of this window and output limit.

        Args:
            request: What is asked.
            window: Tokens that the model reads at most in one round.
            max_output: Tokens that it writes at most.
            rounds: How often it may read its input.
            reserve: Input tokens that were declared to be enough for all rounds.
        """
        input_reasons: tuple[str, ...] = ()
        tokens: int | None = None
        if request.unbounded:
            word = "context_window" if window is not None else "no_context_window"
            input_reasons = (f"{word}:{request.unbounded[0]}",)
            tokens = None if window is None else window * rounds
            if reserve is not None and (tokens is None or reserve < tokens):
                tokens, input_reasons = reserve, (f"reserve:{_RESERVED_INPUT}",)
        why: tuple[str, ...] = ()
        limit = request.max_output_tokens
        if limit is None:
            limit, why = max_output, ("model_max",)
        if limit is None:
            limit, why = window, ("context_window:output",)
        if limit is None:
            why = ("no_output_limit",)
        output = None
        if limit is not None:
            output = max(limit, 0) * max(request.choices, 1) + max(request.prediction_bytes, 0)
        return cls(
            input_tokens=tokens,
            rounds=rounds,
            is_input_unknown=bool(request.unbounded) and tokens is None,
            output=output,
            input_reasons=input_reasons,
            reasons=(*input_reasons, *why),
        )


class Extras(NamedTuple):
    """What a call can cost at most besides its tokens.

    Attributes:
        picousd: All units that have a price, at their dearest.
        rounds: How often the model may read its input.
        input_reserve: Input tokens that were declared to be enough; None without.
        are_output: Some unit is what the call makes or reads, so that tokens are no measure of it.
        reasons: Why it is not simply what was asked for.
        unlimited: A unit that nothing bounds, None when all are bounded.
    """

    picousd: int
    rounds: int = 1
    input_reserve: int | None = None
    are_output: bool = False
    reasons: tuple[str, ...] = ()
    unlimited: str | None = None


class Fixed(NamedTuple):
    """What a model's prices say of every call, whatever it asks for.

    Attributes:
        fee_picousd: A fee for each request.
        only_units: Units by which alone it is billed; empty where tokens have a price.
        alone: What a call adds that asks for nothing but tokens, in one round, bounded by bytes.
    """

    fee_picousd: int
    only_units: frozenset[str]
    alone: Extras


class Known(NamedTuple):
    """A model's dearest prices in the tiers that can be reached, within a span of time."""

    since: int
    until: int
    match: Match
    regional: Regional
    steps: tuple[Step, ...]
    always: Fixed

    def step_for(self, input_tokens: int) -> Step:
        """Return the last step that a call of so many input tokens reaches."""
        found = self.steps[0]
        for step in self.steps:
            if input_tokens > step.above:
                found = step
        return found


def fixed(
    matcher: Matcher, match: Match, regional: Regional, asked: str | None, at_unix_ns: int
) -> Fixed:
    """Work out what a model's prices say of every call in the tiers that it can reach."""
    tiers = _rows.reachable_tiers(asked, match.part.auto_tiers)
    fees = _unit_prices(matcher, tiers, match.provider, regional, at_unix_ns, _REQUESTS)
    rows = [row for tier in tiers for row in _rows.active(regional.model, tier, at_unix_ns)]
    units = {unit for row in rows for unit in row.prices}
    only: frozenset[str] = frozenset()
    if units.isdisjoint(_BUCKETS):
        only = frozenset(map(_base, units - {_REQUESTS}))
    fee = max(fees, default=0)
    return Fixed(fee, only, Extras(fee, unlimited=min(only, default=None)))


def extras(
    matcher: Matcher,
    request: Request,
    match: Match | None,
    regional: Regional | None,
    at_unix_ns: int,
    always: Fixed,
    *,
    ceiling: Mapping[str, int] = MappingProxyType({}),
) -> Extras:
    """Bound what is no token: tools at the provider, images, time, fees.

    `ceiling` has the provider's dearest prices of units, where no row of the model may hold.
    """
    if _is_for_tokens(request):
        return always.alone
    reserve = request.input_reserve_tokens
    if reserve is None:
        reserve = matcher.reserve(_RESERVED_INPUT, None)
    rounds = max(request.rounds, 1)
    if not request.quantities and not request.unlimited:
        lacking = min(always.only_units, default=None)
        return Extras(always.fee_picousd, rounds, reserve, unlimited=lacking)
    counts = dict(request.quantities)
    reasons: list[str] = []
    unlimited: str | None = None
    for unit in request.unlimited:
        most = matcher.reserve(unit, RESERVE)
        if most is None:
            unlimited = unlimited or unit
            continue
        counts[unit] = counts.get(unit, 0) + most
        rounds += most
        reasons.append(f"reserve:{unit}")
    fee = always.fee_picousd * (_REQUESTS not in counts)
    total, are_output = fee, False
    provider = request.provider if match is None else match.provider
    tiers = _rows.reachable_tiers(request.service_tier, match.part.auto_tiers if match else ())
    for unit, most in sorted(counts.items()):
        prices = list(_unit_prices(matcher, tiers, provider, regional, at_unix_ns, unit))
        prices += [ceiling[unit]] if unit in ceiling else []
        if prices:
            total += max(prices) * most
            are_output |= not _base(unit).endswith(_TOOLS)
        elif most:
            reasons.append(f"unpriced:{unit}")
    if unlimited is None and always.only_units.isdisjoint(map(_base, counts)):
        unlimited = min(always.only_units, default=None)
    return Extras(total, rounds, reserve, are_output, tuple(reasons), unlimited)


def steps(
    regional: Regional,
    asked: str | None,
    auto_tiers: tuple[str, ...],
    at_unix_ns: int,
    never: tuple[str, ...],
) -> tuple[Step, ...]:
    """Return the dearest prices over the tiers that a call can reach, by rising context tier.

    Empty when the model has no row in the tier that was asked for. A step's prices are never below
    those of the one before, so the last one reached bounds all calls of fewer tokens too.
    """
    model, numerator, denominator = regional
    tiers = _rows.reachable_tiers(asked, auto_tiers)
    per_tier = [_rows.active(model, tier, at_unix_ns) for tier in tiers]
    if not per_tier[0]:
        return ()
    found: list[Step] = []
    inputs: int = 0
    outputs: int | None = None
    for row in sorted((row for rows in per_tier for row in rows), key=attrgetter("above")):
        into, out = _rows.dearest(row, never)
        inputs = max(inputs, -(-into * numerator // denominator))
        if out is not None:
            outputs = max(outputs or 0, -(-out * numerator // denominator))
        if found and found[-1].above == row.above:
            found.pop()
        found.append(Step(row.above, inputs, outputs))
    return tuple(found)


def dearest_known(match: Match, auto_tiers: tuple[str, ...], at_unix_ns: int) -> tuple[int, int]:
    """Return the dearest prices of a token in and out, in pico-USD, in all tiers and regions."""
    model = match.model
    tiers = {_rows.STANDARD, *auto_tiers, *(row.tier for row in (*model.own, *model.rows))}
    rows = [row for tier in tiers for row in _rows.active(model, tier, at_unix_ns)]
    rows += [row for own in match.regions.values() for row in own]
    factors = [there for there in model.regions.values() if not isinstance(there, str)]
    prices = [_rows.dearest(row) for row in rows]
    into = max((price for price, _ in prices), default=0)
    out = max((price or 0 for _, price in prices), default=0)
    up, down = max([(1, 1), *factors], key=lambda factor: factor[0] / factor[1])
    return -(-into * up // down), -(-out * up // down)


def _unit_prices(
    matcher: Matcher,
    tiers: tuple[str, ...],
    provider: str,
    regional: Regional | None,
    at_unix_ns: int,
    unit: str,
) -> Iterator[int]:
    """Yield the prices of one of a unit that a call may be billed, in pico-USD rounded up."""
    if regional is not None:
        for tier in tiers:
            found = unit_price(regional.model, tier, at_unix_ns, unit)
            if found is not None:
                yield -(-found[1] // found[0].per)
    fee = matcher.fee(provider, unit)
    if fee is not None:
        yield fee[1]


def _is_for_tokens(request: Request) -> bool:
    others = request.quantities or request.unlimited or request.unbounded
    return not others and request.rounds <= 1


def _base(unit: str) -> str:
    return unit.partition(":")[0]
