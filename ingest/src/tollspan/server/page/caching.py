"""`/caching`: what providers' caches of prompts saved against the full price of input, by model.

What was used is exact; what it would have cost otherwise is worked out from list prices: those of
standard calls on each day, by the price book that this server has.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tollspan.ledger.central import CentralLedger, TooMuchError, UsageRow
from tollspan.pricing import PriceBook
from tollspan.server.problems import ProblemError
from tollspan.server.questions import Text, wanted
from tollspan.usage import INPUT_BUCKETS, Usage
from tollspan.usage import Request as CallRequest
from tollspan.usage import Response as CallResponse

from .charts import share
from .links import address, filter_pair, filter_pairs
from .presenting import PageRoute, show
from .ranged import Ranged, hidden_pairs, within
from .ranges import RANGES, Span
from .spending import PATH as SPEND_PATH
from .visiting import Place, Visits

PATH: Final = "/caching"
READ: Final[Mapping[str, str]] = {
    "cache_read": "input_uncached",
    "audio_cache_read": "audio_in",
    "image_cache_read": "image_in",
}
"""What was read from a cache → what it would have been otherwise."""
WRITTEN: Final = ("cache_write", "cache_write_5m", "cache_write_1h")
_PROBE: Final = 100
_DAY_RANGES: Final = {name: words for name, words in RANGES.items() if name != "24h"}
_MOST_ROWS: Final = 5_000
_LISTED: Final = 50
_NANO: Final = 1_000  # pico-USD
_Prices = dict[str, Fraction]


class CachingParameters(Ranged):
    """What the address of the view says."""

    customer: Text = None

    def where(self) -> dict[str, str | None]:
        """Return which values calls must have."""
        return wanted(self.model_dump(include={"customer"}, exclude_none=True))


class ModelCaching(msgspec.Struct, kw_only=True):
    """What caching did for one model.

    Attributes:
        provider, model: Which.
        input_tokens: All input, cached or not.
        read_tokens, written_tokens: Read from a cache, and written into one.
        saved_nanousd: What reading saved against the full price; exact until it is shown.
        extra_nanousd: What writing cost beyond the full price.
        unpriced_tokens: Those of which prices are not known: they are in neither.
    """

    provider: str
    model: str
    input_tokens: int = 0
    read_tokens: int = 0
    written_tokens: int = 0
    saved_nanousd: Fraction = Fraction(0)
    extra_nanousd: Fraction = Fraction(0)
    unpriced_tokens: int = 0

    @property
    def net_nanousd(self) -> int:
        """What is left of the saving."""
        return round(self.saved_nanousd - self.extra_nanousd)


class Caching(msgspec.Struct, frozen=True, kw_only=True):
    """What caching did by model, those that saved most first; `is_whole`: none is left out."""

    models: tuple[ModelCaching, ...]
    is_whole: bool

    def sum_of(self, name: str) -> int:
        """Return the sum of a figure of all models."""
        return round(sum(Fraction(getattr(one, name)) for one in self.models))


class CachingLine(msgspec.Struct, frozen=True, kw_only=True):
    """A model's line in the table."""

    of: ModelCaching
    link: str
    share: str


def caching_routes(
    ledger: CentralLedger, visits: Visits, now: Callable[[], datetime], book: PriceBook
) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get(PATH)
    def caching(request: Request, asked: Annotated[CachingParameters, Query()]) -> Response:
        """Show what caching saved."""
        return _shown(ledger, visits.place(request), asked, asked.span(now()), book)

    return router


def caching_of(
    ledger: CentralLedger,
    tenant: str,
    span: Span,
    book: PriceBook,
    where: Mapping[str, str | None] = {},
) -> Caching:
    """Return what caching did, by model.

    Raises:
        TooMuchError: Too many events would have to be read.
    """
    bucket = "month" if span.bucket == "month" else "day"
    query = msgspec.structs.replace(
        within(span, where), group_by=("provider", "model"), bucket=bucket, most=_MOST_ROWS
    )
    page = ledger.usage.usage(tenant, query)
    found: dict[tuple[str, str], ModelCaching] = {}
    for row in page.rows:
        provider, model = (value or "" for value in row.values)
        line = found.setdefault((provider, model), ModelCaching(provider=provider, model=model))
        _add(line, row, book)
    cached = [one for one in found.values() if one.read_tokens or one.written_tokens]
    order = sorted(cached, key=lambda one: (-one.net_nanousd, one.provider, one.model))
    rest = [one for one in found.values() if not (one.read_tokens or one.written_tokens)]
    return Caching(models=(*order, *rest), is_whole=page.is_last)


def _add(line: ModelCaching, row: UsageRow, book: PriceBook) -> None:
    tokens = row.sums.tokens
    line.input_tokens += sum(tokens.get(name, 0) for name in INPUT_BUCKETS)
    read = {name: tokens[name] for name in READ if tokens.get(name)}
    written = {name: tokens[name] for name in WRITTEN if tokens.get(name)}
    if not read and not written:
        return
    line.read_tokens += sum(read.values())
    line.written_tokens += sum(written.values())
    prices = prices_of(book, line.provider, line.model, row.start_unix_ns or 0)
    for name, count in read.items():
        full, cheap = prices.get(READ[name]), prices.get(name)
        if full is None or cheap is None:
            line.unpriced_tokens += count
        else:
            line.saved_nanousd += count * (full - cheap) / _NANO
    for name, count in written.items():
        full, dear = prices.get("input_uncached"), prices.get(name)
        if full is None or dear is None:
            line.unpriced_tokens += count
        else:
            line.extra_nanousd += count * (dear - full) / _NANO


def prices_of(book: PriceBook, provider: str, model: str, at_unix_ns: int) -> _Prices:
    """Return pico-USD for one token of each bucket of input that has a price; none for no model."""
    buckets = (*READ, *READ.values(), *WRITTEN)
    probe: dict[str, Any] = dict.fromkeys(buckets, _PROBE)
    usage = Usage(status="reported", **probe)
    request = CallRequest(provider=provider, operation="chat", model=model)
    _, lines = book.explain(request, CallResponse(), usage, at_unix_ns)
    return {
        line.unit: Fraction(line.picousd, line.per) for line in lines if line.picousd is not None
    }


def _shown(
    ledger: CentralLedger, place: Place, asked: CachingParameters, span: Span, book: PriceBook
) -> Response:
    where = asked.where()
    hidden = hidden_pairs(place)
    kept = [*hidden, *asked.time_pairs]
    try:
        found = caching_of(ledger, place.tenant, span, book, where)
    except TooMuchError as error:
        raise ProblemError(400, f"{error}".capitalize() + ".", type="too_much") from None
    most = max((one.net_nanousd for one in found.models), default=0)
    lines = [
        CachingLine(
            of=one, share=share(one.net_nanousd, most),
            link=address(SPEND_PATH, [*kept, *filter_pairs(where), filter_pair("model", one.model),
                                      ("by", "customer")]),
        )
        for one in found.models[:_LISTED]
    ]  # fmt: skip
    chips = [(name, value or "unattributed", address(PATH, kept)) for name, value in where.items()]
    return show(
        "caching", visitor=place.visitor, tenant=place.tenant, here="caching", hidden=hidden,
        span=span, ranges=_DAY_RANGES, asked=asked, found=found, lines=lines, chips=chips,
        kept=filter_pairs(where), left=len(found.models) - len(lines), book=book.book_id,
    )  # fmt: skip
