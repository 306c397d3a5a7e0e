"""`PriceBook`: the exact cost of a call that was made, and the most that one can cost."""

from __future__ import annotations

from functools import partial
from operator import attrgetter, mul
from pathlib import Path
from typing import NamedTuple, TypeVar

import msgspec

from tollspan.usage import (
    INPUT_BUCKETS,
    PICOUSD_PER_NANOUSD,
    TOKEN_BUCKETS,
    Bound,
    Cost,
    Request,
    Response,
    Usage,
)

from . import _file, _names, _rows
from ._limits import Limits, Step, steps

_MEMO_SIZE = 4_096
_MEMO_NAME_SIZE = 512
_UP = PICOUSD_PER_NANOUSD - 1
# One call in C for each of them: they are the memo's keys and the vector of tokens.
_asked = attrgetter("provider", "model", "service_tier", "is_assumed")
_said = attrgetter("model", "service_tier")
_shape = attrgetter(
    "provider",
    "model",
    "service_tier",
    "is_assumed",
    "unbounded",
    "max_output_tokens",
    "choices",
    "prediction_bytes",
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


class _Known(NamedTuple):
    """A model's dearest prices in the tiers that can be reached, within a span of time."""

    since: int
    until: int
    part: _file.Provider
    model: _file.Model
    steps: tuple[Step, ...]

    def step_for(self, input_tokens: int) -> Step:
        """Return the last step that a call of so many input tokens reaches."""
        found = self.steps[0]
        for step in self.steps:
            if input_tokens > step.above:
                found = step
        return found


class _Match(NamedTuple):
    part: _file.Provider
    model: _file.Model
    key: str
    rule: str


_Plan = TypeVar("_Plan", _RatePlan, _BoundPlan, _Known)
_NO_RATE = _RatePlan(0, 0, (), 0, 0, 1, partial(Cost, status="unpriced"))
_NO_BOUND = _BoundPlan(0, 0, 0, 0, 0, partial(Bound))


class PriceBook:
    """The compiled price book. Immutable; may be used from any number of threads.

    Attributes:
        book_id: Its date and the head of its hash, `20261122-0123456789ab`; kept with every cost.
    """

    def __init__(self, book_id: str, body: _file.Body) -> None:
        """Take a book that was read and checked; use `load`."""
        self.book_id = book_id
        self._body = body
        self._parts: dict[str, _file.Provider] = {}
        self._models: dict[tuple[str, str], _file.Model] = {}
        self._rates: dict[object, _RatePlan] = {}
        self._bounds: dict[object, _BoundPlan] = {}
        self._steps: dict[object, _Known] = {}

    @classmethod
    def load(cls, path: Path | None = None) -> PriceBook:
        """Read a book and check its hash; providers and models are decoded when first asked for.

        Args:
            path: A book's file, or None for the one that ships with tollspan.

        Raises:
            PriceBookError: It can't be read or was altered; the text names the fix.
        """
        return cls(*_file.read(path))

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

        The model and the tier are what the response says; the request's where it says nothing, or
        names a model that the book doesn't have.

        Args:
            request: What was asked.
            response: What the answer says of itself.
            usage: The tokens that were used.
            at_unix_ns: When the call started; the rows of that time price it.
            ceiling: Price a model that has no row by its provider's dearest, marked `is_assumed`.

        Raises:
            PriceBookError: The model's part of the book can't be read.
        """
        since, until, prices, guard, edge, divisor, cost = self._rates.get(
            (_asked(request), _said(response), ceiling), _NO_RATE
        )
        if since <= at_unix_ns < until and usage.status != "unknown":
            total = sum(map(mul, _tokens(usage), prices))
            if total < guard or (total < _rows.UNPRICED and usage.input_tokens <= edge):
                amount, rest = divmod(total, divisor)
                if rest + rest >= divisor and (rest + rest > divisor or amount & 1):
                    amount += 1
                return cost(amount_nanousd=amount)
        return self._rate(request, response, usage, at_unix_ns, ceiling=ceiling)

    def bound(self, request: Request, at_unix_ns: int, *, ceiling: bool = False) -> Bound:
        """Return the most that a call can cost, rounded up.

        Input: a token for each byte and the provider's constant (the whole context window where
        bytes are no bound), at the dearest input price that the call can reach. Output: the limit
        for each choice, and predicted bytes, at the dearest output price.

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

    def _rate(
        self, request: Request, response: Response, usage: Usage, at_unix_ns: int, *, ceiling: bool
    ) -> Cost:
        if usage.status == "unknown":
            return Cost(status="unknown", is_assumed=request.is_assumed, book_id=self.book_id)
        match = self._match(request.provider, response.model) if response.model else None
        match = match or self._match(request.provider, request.model)
        if match is None:
            return self._rate_without_row(request, usage, None, ceiling=ceiling)
        tier = _rows.tier_of(request.service_tier, response.service_tier)
        rows = _rows.active(match.model, tier, at_unix_ns)
        if not rows:
            return self._rate_without_row(request, usage, match, ceiling=ceiling)
        row = _rows.for_input(rows, usage.input_tokens)
        prices = _rows.vector(row)
        cost = partial(
            Cost,
            status="priced",
            is_assumed=request.is_assumed,
            book_id=self.book_id,
            matched_key=match.key,
            matched_by=match.rule,
            row_ids=(_rows.row_id(request.provider, match.key, row),),
        )
        divisor = row.per * PICOUSD_PER_NANOUSD
        if row is rows[0] and len(request.model) + len(response.model or "") <= _MEMO_NAME_SIZE:
            since, until = _rows.span(match.model, at_unix_ns)
            plan = _RatePlan(since, until, prices, *_guard(rows), divisor, cost)
            _remember(self._rates, (_asked(request), _said(response), ceiling), plan)
        tokens = _tokens(usage)
        unpriced = tuple(
            bucket
            for bucket, count, price in zip(TOKEN_BUCKETS, tokens, prices, strict=True)
            if count and price == _rows.UNPRICED
        )
        if not unpriced:
            total = sum(map(mul, tokens, prices))
            return cost(amount_nanousd=_half_even(total, divisor))
        if len(unpriced) == sum(map(bool, tokens)):
            missing = self._rate_without_row(request, usage, match, ceiling=ceiling)
            return msgspec.structs.replace(missing, unpriced_units=unpriced)
        known = [0 if price == _rows.UNPRICED else price for price in prices]
        amount = _half_even(sum(map(mul, tokens, known)), divisor)
        return cost(status="partial", amount_nanousd=amount, unpriced_units=unpriced)

    def _rate_without_row(
        self, request: Request, usage: Usage, match: _Match | None, *, ceiling: bool
    ) -> Cost:
        part = self._part(request.provider)
        if not ceiling or part is None:
            return Cost(
                status="unpriced",
                is_assumed=request.is_assumed,
                book_id=self.book_id,
                matched_key=None if match is None else match.key,
                matched_by=None if match is None else match.rule,
            )
        dearest = part.ceiling
        total = (
            usage.input_tokens * dearest.input_picousd
            + usage.output_tokens * dearest.output_picousd
        )
        rows = (dearest.input_row, dearest.output_row)
        return Cost(
            status="priced",
            amount_nanousd=_half_even(total, PICOUSD_PER_NANOUSD),
            is_assumed=True,
            book_id=self.book_id,
            matched_by="ceiling",
            row_ids=tuple(dict.fromkeys(row for row in rows if row is not None)),
        )

    def _bound(self, request: Request, at_unix_ns: int, *, ceiling: bool) -> Bound:
        known = self._known_steps(request, at_unix_ns)
        if known is None or not known.steps:
            return self._bound_without_row(request, ceiling=ceiling)
        limits = Limits.of(request, known.model.context_window, known.model.max_output_tokens)
        constant = known.part.constant_tokens
        tokens, price, reach = limits.input_tokens, 0, _rows.FOR_EVER
        step = known.step_for(request.input_bytes + constant if tokens is None else tokens)
        if tokens is None:
            tokens, price = constant, step.input_picousd
            if len(known.steps) > 1:
                reach = known.steps[1].above - constant
        reasons = limits.reasons if step.output_picousd is not None else limits.input_reasons
        if limits.is_input_unknown or (step.output_picousd is not None and limits.output is None):
            return Bound(amount_nanousd=None, is_assumed=request.is_assumed, reasons=reasons)
        output = (limits.output or 0) * (step.output_picousd or 0)
        base = tokens * step.input_picousd + output + _UP
        bound = partial(Bound, is_assumed=request.is_assumed, reasons=reasons)
        if request.input_bytes <= reach and len(request.model) <= _MEMO_NAME_SIZE:
            plan = _BoundPlan(known.since, known.until, reach, price, base, bound)
            _remember(self._bounds, (_shape(request), ceiling), plan)
        return bound(amount_nanousd=(request.input_bytes * price + base) // PICOUSD_PER_NANOUSD)

    def _known_steps(self, request: Request, at_unix_ns: int) -> _Known | None:
        name = (request.provider, request.model, request.service_tier)
        known = self._steps.get(name)
        if known is not None and known.since <= at_unix_ns < known.until:
            return known
        match = self._match(request.provider, request.model)
        if match is None:
            return None
        found = steps(match.model, request.service_tier, match.part.auto_tiers, at_unix_ns)
        known = _Known(*_rows.span(match.model, at_unix_ns), match.part, match.model, found)
        if found and len(request.model) <= _MEMO_NAME_SIZE:
            _remember(self._steps, name, known)
        return known

    def _bound_without_row(self, request: Request, *, ceiling: bool) -> Bound:
        part = self._part(request.provider)
        if not ceiling or part is None:
            return Bound(amount_nanousd=None, is_assumed=request.is_assumed, reasons=("unpriced",))
        dearest = part.ceiling
        limits = Limits.of(request, dearest.context_window, dearest.max_output_tokens)
        reasons = ("ceiling", *limits.reasons)
        if limits.is_input_unknown or limits.output is None:
            return Bound(amount_nanousd=None, is_assumed=True, reasons=reasons)
        tokens = limits.input_tokens
        if tokens is None:
            tokens = request.input_bytes + part.constant_tokens
        total = tokens * dearest.input_picousd + limits.output * dearest.output_picousd
        amount = (total + _UP) // PICOUSD_PER_NANOUSD
        return Bound(amount_nanousd=amount, is_assumed=True, reasons=reasons)

    def _match(self, provider: str, name: str) -> _Match | None:
        part = self._part(provider)
        found = None if part is None else _names.resolve(part, provider, name)
        if part is None or found is None:
            return None
        key, rule = found
        model = self._models.get((provider, key))
        if model is None:
            model = self._models[provider, key] = _file.model(part, key)
        return _Match(part, model, key, rule)

    def _part(self, provider: str) -> _file.Provider | None:
        part = self._parts.get(provider)
        if part is None:
            part = _file.provider(self._body, provider)
            if part is not None:
                self._parts[provider] = part
        return part


def _guard(rows: tuple[_file.Row, ...]) -> tuple[int, int]:
    if len(rows) == 1:
        return _rows.UNPRICED, 0
    # A call past the next context tier costs at least this much by the first row.
    prices = _rows.vector(rows[0])[: len(INPUT_BUCKETS)]
    return (rows[1].above + 1) * min(prices), rows[1].above


def _half_even(total: int, divisor: int) -> int:
    amount, rest = divmod(total, divisor)
    return amount + (rest + rest > divisor or (rest + rest == divisor and amount & 1))


def _remember(memo: dict[object, _Plan], key: object, plan: _Plan) -> None:
    if len(memo) >= _MEMO_SIZE:
        memo.clear()
    memo[key] = plan
