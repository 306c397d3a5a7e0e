"""`PriceBook`: the exact cost of a call that was made, and the most that one can cost."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from operator import attrgetter, mul
from pathlib import Path
from typing import NamedTuple, TypeVar

from tollspan.usage import (
    INPUT_BUCKETS,
    PICOUSD_PER_NANOUSD,
    TOKEN_BUCKETS,
    TOKEN_UNITS,
    TOOL_PROVIDER,
    Bound,
    BudgetUnit,
    Cost,
    Request,
    Response,
    Usage,
)

from . import _file, _rows, _tools
from ._limits import Extras, Fixed, Known, Limits, dearest_known, extras, fixed, steps
from ._matching import Matcher, Regional
from ._most import most_quantity, token_limits
from ._rating import PriceLine
from ._rating import rate as rate_call
from .listing import PriceList, list_prices
from .overrides import NO_OVERRIDES, Overrides

_MEMO_SIZE = 4_096
_MEMO_NAME_SIZE = 512
_UP = PICOUSD_PER_NANOUSD - 1
# One call in C for each of them: they are the memo's keys and the vector of tokens.
_asked = attrgetter("provider", "model", "service_tier", "is_assumed", "host", "region")
_said = attrgetter("model", "service_tier", "region")
_kind = attrgetter("status", "quantities", "iterations", "reported_cost_picousd")
_place = attrgetter("provider", "model", "service_tier", "host", "region", "never")
_shape = attrgetter(
    "provider",
    "model",
    "service_tier",
    "is_assumed",
    "unbounded",
    "max_output_tokens",
    "choices",
    "prediction_bytes",
    "host",
    "region",
    "quantities",
    "unlimited",
    "rounds",
    "never",
    "input_reserve_tokens",
)
_tokens = attrgetter(*TOKEN_BUCKETS)


class _RatePlan(NamedTuple):
    """How to price calls of one kind, from `since` until just before `until`.

    A total below `guard` has neither unpriced tokens in it nor more than `edge` input tokens, past
    which the next context tier begins.
    """

    since: int
    until: int
    prices: tuple[int, ...]
    guard: int
    edge: int
    divisor: int
    cost: partial[Cost]


class _BoundPlan(NamedTuple):
    """How to bound calls of one kind with at most `reach` bytes, within a span of time.

    The amount is `(bytes * price_picousd + base_picousd) // 1000`; the base rounds it up.
    """

    since: int
    until: int
    reach: int
    price_picousd: int
    base_picousd: int
    bound: partial[Bound]


_Plan = TypeVar("_Plan", _RatePlan, _BoundPlan, Known, _tools.ToolPrices)
_NO_RATE = _RatePlan(0, 0, (), 0, 0, 1, partial(Cost, status="unpriced"))
_NO_BOUND = _BoundPlan(0, 0, 0, 0, 0, partial(Bound))


class PriceBook:
    """The compiled price book. Immutable; may be used from any number of threads.

    Attributes:
        book_id: Its date and the head of its hash, `20261122-0123456789ab`, and behind a `+` that
            of the operator's own prices; kept with every cost.
    """

    def __init__(self, book_id: str, body: _file.Body, overrides: Overrides = NO_OVERRIDES) -> None:
        """Take a book that was read and checked; use `load`."""
        self.book_id = f"{book_id}+{overrides.sha256[:12]}" if overrides.sha256 else book_id
        self._body = body
        self._matcher = Matcher(body, overrides)
        self._rates: dict[object, _RatePlan] = {}
        self._bounds: dict[object, _BoundPlan] = {}
        self._steps: dict[object, Known] = {}
        self._tools: dict[object, _tools.ToolPrices] = {}

    @classmethod
    def load(cls, path: Path | None = None, overrides: Overrides = NO_OVERRIDES) -> PriceBook:
        """Read a book and check its hash; providers and models are decoded when first asked for.

        Args:
            path: A book's file, or None for the one that ships with tollspan.
            overrides: The operator's own prices, which come before the book's.

        Raises:
            PriceBookError: It can't be read or was altered; the text names the fix.
        """
        return cls(*_file.read(path), overrides)

    @classmethod
    def empty(cls) -> PriceBook:
        """Return a book that has no price in it: every call is unpriced."""
        return cls("none", _file.Body(currency="USD", date="", sources=(), providers={}))

    def rate(
        self,
        request: Request,
        response: Response,
        usage: Usage,
        at_unix_ns: int,
        *,
        ceiling: bool = False,
    ) -> Cost:
        """Return what a call cost, summed exactly and rounded once, half to even.

        Tokens of every run of a model, tools at the provider, images, time, fees. Model, tier and
        region are what the response says; the request's where it says nothing, or names a model
        that the book doesn't have.

        Args:
            request: What was asked.
            response: What the answer says of itself.
            usage: What was used.
            at_unix_ns: When the call started; the rows of that time price it.
            ceiling: Price a model that has no row by its provider's dearest, marked `is_assumed`.

        Raises:
            PriceBookError: The model's part of the book can't be read.
        """
        since, until, prices, guard, edge, divisor, cost = self._rates.get(
            (_asked(request), _said(response), _kind(usage), ceiling), _NO_RATE
        )
        if since <= at_unix_ns < until:
            total = sum(map(mul, _tokens(usage), prices))
            if total < guard or (total < _rows.UNPRICED and usage.input_tokens <= edge):
                amount, rest = divmod(total, divisor)
                if rest + rest >= divisor and (rest + rest > divisor or amount & 1):
                    amount += 1
                return cost(amount_nanousd=amount)
        return self._rate(request, response, usage, at_unix_ns, ceiling=ceiling)

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool = False) -> Bound:
        """Return the most that a call can cost, rounded up.

        Input: a token for each byte and the provider's constant (the context window where bytes
        are no bound), for each round, at the dearest input price that the call can reach. Output:
        the limit for each choice, and predicted bytes, at the dearest output price. Besides: the
        most of every unit that was asked for, at its dearest price.

        Args:
            request: What is asked.
            at_unix_ns: When the call starts.
            ceiling: Bound a model that has no row by its provider's dearest, marked `is_assumed`.

        Raises:
            PriceBookError: The model's part of the book can't be read.
        """
        since, until, reach, price, base, bound = self._bounds.get(
            (_shape(request), ceiling), _NO_BOUND
        )
        size = request.input_bytes
        if since <= at_unix_ns < until and size <= reach:
            return bound(amount_nanousd=(size * price + base) // PICOUSD_PER_NANOUSD)
        return self._bound(request, at_unix_ns, ceiling=ceiling)

    def most_of(
        self, request: Request, unit: BudgetUnit, at_unix_ns: int, *, ceiling: bool = False
    ) -> tuple[int | None, tuple[str, ...]]:
        """Return how much of a unit a call can use at most, and why so much.

        Args:
            request: What is asked.
            unit: What a budget counts, but for money and calls; of `seconds` milliseconds.
            at_unix_ns: When the call starts.
            ceiling: As in `bound`.

        Returns:
            The most (of tokens as in `bound`, by the model's own limits where the request has
            none), 0 where the call can use none, and None where nothing bounds it; with the
            assumptions that it rests on, or what is missing.

        Raises:
            PriceBookError: The model's part of the book can't be read.
        """
        is_tool = request.provider == TOOL_PROVIDER
        if unit in TOKEN_UNITS:
            if is_tool:
                return 0, ()
            known = self._known_steps(request, at_unix_ns)
            limits = token_limits(self._matcher, request, known, at_unix_ns, ceiling=ceiling)
            return limits.of(unit)
        billed: Collection[str] = ()
        if is_tool:
            billed = self._tool(request, at_unix_ns).units
        elif (known := self._known_steps(request, at_unix_ns)) is not None:
            billed = known.always.only_units
        return most_quantity(self._matcher, request, unit, billed)

    def explain(
        self,
        request: Request,
        response: Response,
        usage: Usage,
        at_unix_ns: int,
        *,
        ceiling: bool = False,
    ) -> tuple[Cost, tuple[PriceLine, ...]]:
        """Return what a call cost, as `rate` does, and the parts that add up to it.

        Raises:
            PriceBookError: The model's part of the book can't be read.
        """
        if request.provider == TOOL_PROVIDER:
            return _tools.rate(self._tool(request, at_unix_ns), self.book_id, usage)
        rated = rate_call(
            self._matcher, self.book_id, request, response, usage, at_unix_ns, ceiling=ceiling
        )
        return rated.cost, rated.lines

    @property
    def providers(self) -> tuple[str, ...]:
        """Every provider that has prices, by the book's names."""
        return self._matcher.providers

    def model_names(self) -> frozenset[str]:
        """Return every name that has prices at some provider, in lower case, globs without `*`.

        Raises:
            PriceBookError: A part of the book can't be read.
        """
        return frozenset(name for each in self.providers for name in self._matcher.names(each))

    def has_provider(self, name: str) -> bool:
        """Say whether a provider has prices, under this or another name."""
        return self._matcher.part(name) is not None

    def prices(self, provider: str, model: str) -> PriceList | None:
        """Return what a model's name leads to, None when no rule covers it.

        Raises:
            PriceBookError: The model's part of the book can't be read.
        """
        match = self._matcher.match(provider, model)
        return None if match is None else list_prices(match, self._body.sources)

    def _rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        if request.provider == TOOL_PROVIDER:
            return _tools.rate(self._tool(request, at_unix_ns), self.book_id, usage)[0]
        rated = rate_call(
            self._matcher, self.book_id, request, response, usage, at_unix_ns, ceiling=ceiling
        )
        match, rows, regional, row, *_ = rated.first
        if match is None or regional is None or row is None or row is not rows[0]:
            return rated.cost
        if not _is_plain(usage) or any(line.unit == "requests" for line in rated.lines):
            return rated.cost
        if len(request.model) + len(response.model or "") <= _MEMO_NAME_SIZE:
            _, numerator, denominator = regional
            prices = tuple(price * numerator for price in _rows.vector(row))
            cost = partial(
                Cost,
                status="priced",
                is_assumed=request.is_assumed,
                book_id=self.book_id,
                matched_key=match.key,
                matched_by=match.rule,
                row_ids=(_rows.row_id(match.provider, match.key, row),),
            )
            plan = _RatePlan(
                *_rows.span(regional.model, at_unix_ns),
                prices,
                *_guard(rows, numerator),
                row.per * denominator * PICOUSD_PER_NANOUSD,
                cost,
            )
            place = (_asked(request), _said(response), _kind(usage), ceiling)
            _remember(self._rates, place, plan)
        return rated.cost

    def _tool(self, request: Request, at_unix_ns: int) -> _tools.ToolPrices:
        name = request.model, request.declared
        found = self._tools.get(name)
        if found is None or not found.since <= at_unix_ns < found.until:
            found = _tools.prices_of(self._matcher, request, at_unix_ns)
            if len(request.model) <= _MEMO_NAME_SIZE:
                _remember(self._tools, name, found)
        return found

    def _bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        if request.provider == TOOL_PROVIDER:
            return _tools.bound(self._tool(request, at_unix_ns), self._matcher, request)
        known = self._known_steps(request, at_unix_ns)
        if known is None or not known.steps:
            return self._bound_without_row(request, at_unix_ns, ceiling=ceiling)
        more = extras(self._matcher, request, known.match, known.regional, at_unix_ns, known.always)
        model = known.regional.model
        limits = Limits.of(
            request,
            model.context_window,
            model.max_output_tokens,
            rounds=more.rounds,
            reserve=more.input_reserve,
        )
        constant = known.match.part.constant_tokens
        tokens, price, reach = limits.input_tokens, 0, _rows.FOR_EVER
        rounds = limits.rounds
        # Providers that report one sum for all rounds may choose the context tier by it too.
        most = (request.input_bytes + constant) * rounds if tokens is None else tokens
        step = known.step_for(most)
        if tokens is None:
            tokens, price = constant * rounds, step.input_picousd * rounds
            if len(known.steps) > 1:
                reach = known.steps[1].above // rounds - constant
        has_output = step.output_picousd is not None
        reasons = limits.reasons if has_output else limits.input_reasons
        if more.are_output and limits.output is None:
            has_output, reasons = False, limits.input_reasons
        reasons += more.reasons
        if more.unlimited is not None:
            reasons += (f"no_limit:{more.unlimited}",)
        is_open = limits.is_input_unknown and step.input_picousd > 0
        if is_open or more.unlimited is not None or (has_output and limits.output is None):
            return Bound(amount_nanousd=None, is_assumed=request.is_assumed, reasons=reasons)
        output = (limits.output or 0) * (step.output_picousd or 0)
        base = tokens * step.input_picousd + output + more.picousd + _UP
        bound = partial(Bound, is_assumed=request.is_assumed, reasons=reasons)
        if request.input_bytes <= reach and len(request.model) <= _MEMO_NAME_SIZE:
            plan = _BoundPlan(known.since, known.until, reach, price, base, bound)
            _remember(self._bounds, (_shape(request), ceiling), plan)
        return bound(amount_nanousd=(request.input_bytes * price + base) // PICOUSD_PER_NANOUSD)

    def _known_steps(self, request: Request, at_unix_ns: int) -> Known | None:
        name = _place(request)
        known = self._steps.get(name)
        if known is not None and known.since <= at_unix_ns < known.until:
            return known
        match = self._matcher.match(request.provider, request.model)
        if match is None:
            return None
        region = self._matcher.region_of(request.provider, request.host, request.region, None)
        regional = self._matcher.in_region(match, region)
        if regional is None:
            return None
        tier = request.service_tier
        found = steps(regional, tier, match.part.auto_tiers, at_unix_ns, request.never)
        always = fixed(self._matcher, match, regional, tier, at_unix_ns)
        since, until = _rows.span(regional.model, at_unix_ns)
        known = Known(since, until, match, regional, found, always)
        if found and len(request.model) <= _MEMO_NAME_SIZE:
            _remember(self._steps, name, known)
        return known

    def _bound_without_row(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        part = self._matcher.part(request.provider)
        if not ceiling or part is None:
            return Bound(amount_nanousd=None, is_assumed=request.is_assumed, reasons=("unpriced",))
        dearest = part.ceiling
        into, out = dearest.input_picousd, dearest.output_picousd
        # The model may have prices elsewhere than where it was asked for; the operator's may be
        # above all of the provider's.
        match = self._matcher.match(request.provider, request.model)
        regional = None
        if match is not None:
            regional = Regional(match.model)
            known = dearest_known(match, part.auto_tiers, at_unix_ns)
            into, out = max(into, known[0]), max(out, known[1])
        fee = dearest.units.get("requests", 0)
        always = Fixed(fee, frozenset(), Extras(fee))
        more = extras(
            self._matcher, request, match, regional, at_unix_ns, always, ceiling=dearest.units
        )
        limits = Limits.of(
            request,
            dearest.context_window,
            dearest.max_output_tokens,
            rounds=more.rounds,
            reserve=more.input_reserve,
        )
        reasons = ("ceiling", *limits.reasons, *more.reasons)
        if more.unlimited is not None:
            reasons += (f"no_limit:{more.unlimited}",)
        if limits.is_input_unknown or limits.output is None or more.unlimited is not None:
            return Bound(amount_nanousd=None, is_assumed=True, reasons=reasons)
        tokens = limits.input_tokens
        if tokens is None:
            tokens = (request.input_bytes + part.constant_tokens) * limits.rounds
        amount = (tokens * into + limits.output * out + more.picousd + _UP) // PICOUSD_PER_NANOUSD
        return Bound(amount_nanousd=amount, is_assumed=True, reasons=reasons)


def _is_plain(usage: Usage) -> bool:
    """Say whether tokens alone make the cost."""
    others = usage.quantities or usage.iterations or usage.reported_cost_picousd is not None
    return not others and usage.status != "unknown"


def _guard(rows: tuple[_file.Row, ...], numerator: int) -> tuple[int, int]:
    if len(rows) == 1:
        return _rows.UNPRICED, 0
    # A call past the next context tier costs at least this much by the first row.
    prices = _rows.vector(rows[0])[: len(INPUT_BUCKETS)]
    return (rows[1].above + 1) * min(prices) * numerator, rows[1].above


def _remember(memo: dict[object, _Plan], key: object, plan: _Plan) -> None:
    if len(memo) >= _MEMO_SIZE:
        memo.clear()
    memo[key] = plan
