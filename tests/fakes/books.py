"""What a fake provider saw and what it would bill: exact counts and integer money, thread-safe."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import NamedTuple


class Price(NamedTuple):
    """Pico-USD per token (USD per million tokens times 1,000,000).

    Tokens written to a cache cost what is given here, or as much as other input.
    """

    input_pico_per_token: int
    cached_pico_per_token: int
    output_pico_per_token: int
    cache_write_pico_per_token: int | None = None
    cache_write_1h_pico_per_token: int | None = None


PriceTable = Mapping[str, Price | tuple[int, ...]]
"""A `Price` by model, and by `model@variant` for a service tier, `fast` or a region; without one
it has no price there.
"""

PRICES: Mapping[str, Price] = {
    "gpt-4o-mini": Price(150_000, 75_000, 600_000),
    "gpt-4o-mini@batch": Price(75_000, 75_000, 300_000),
    "gpt-4o-mini@priority": Price(250_000, 125_000, 1_000_000),
    "gpt-4o": Price(2_500_000, 1_250_000, 10_000_000),
    "gpt-4.1-mini": Price(400_000, 100_000, 1_600_000),
    "gpt-6-luna": Price(100_000, 10_000, 500_000, 125_000),
    "gpt-3.5-turbo-instruct": Price(1_500_000, 1_500_000, 2_000_000),
    "o4-mini": Price(1_100_000, 275_000, 4_400_000),
    "gpt-4o@batch": Price(1_250_000, 1_250_000, 5_000_000),
    "o4-mini@flex": Price(550_000, 138_000, 2_200_000),
    "text-embedding-3-small": Price(20_000, 20_000, 0),
    "text-embedding-3-small@batch": Price(10_000, 10_000, 0),
    "omni-moderation-latest": Price(0, 0, 0),
}
"""OpenAI's list prices of the models that the tests use; a table at construction replaces it."""

ANTHROPIC_PRICES: Mapping[str, Price] = {
    "claude-haiku-4-5": Price(1_000_000, 100_000, 5_000_000, 1_250_000, 2_000_000),
    "claude-haiku-4-5@batch": Price(500_000, 50_000, 2_500_000, 625_000, 1_000_000),
    "claude-sonnet-5-5@batch": Price(1_000_000, 50_000, 5_000_000, 1_250_000, 2_000_000),
    "claude-sonnet-5-5": Price(2_000_000, 100_000, 10_000_000, 2_500_000, 4_000_000),
    "claude-sonnet-5-5@us": Price(2_200_000, 110_000, 11_000_000, 2_750_000, 4_400_000),
    "claude-opus-4-7": Price(5_000_000, 500_000, 25_000_000, 6_250_000, 10_000_000),
    "claude-opus-4-7@us": Price(5_500_000, 550_000, 27_500_000, 6_875_000, 11_000_000),
}
"""Anthropic's, likewise."""

FEES: Mapping[str, int] = {
    "web_searches": 10_000_000_000,
    "storage_searches": 2_500_000_000,
    "code_sessions": 30_000_000_000,
}
"""Pico-USD for one of a unit, with either provider and any model."""

VIDEO_MODELS: Mapping[str, Price] = {"sora-2": Price(0, 0, 0), "sora-2-pro": Price(0, 0, 0)}
"""Models that are priced by the length of what they make alone."""

VIDEO_FEES: Mapping[str, Mapping[str, int]] = {
    "sora-2": {"video_out_ms": 100_000_000},
    "sora-2-pro": {"video_out_ms:720p": 300_000_000, "video_out_ms:1024p": 500_000_000},
}
"""Pico-USD for a millisecond by model and size."""

_ALL_FEES = {**FEES, **VIDEO_FEES["sora-2"], **VIDEO_FEES["sora-2-pro"]}
_SNAPSHOT_DATE = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{8})$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """What one run of a model used; `prompt_tokens` are all of them, the caches' too.

    Attributes:
        units: Unit of `FEES`, or of `VIDEO_FEES` → how many.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    units: Mapping[str, int] = field(default_factory=dict)

    def cost_picousd(self, price: Price) -> int:
        """Return what that costs."""
        writes = self.cache_write_tokens + self.cache_write_1h_tokens
        plain, cached, output, write, write_1h = price
        return (
            (self.prompt_tokens - self.cached_tokens - writes) * plain
            + self.cached_tokens * cached
            + self.output_tokens * output
            + self.cache_write_tokens * (plain if write is None else write)
            + self.cache_write_1h_tokens * (plain if write_1h is None else write_1h)
            + sum(_ALL_FEES[unit] * count for unit, count in self.units.items())
        )


class Charge(NamedTuple):
    """One run of a model, to be billed by its price in these variants (`model@variant@…`)."""

    model: str
    consumed: Consumed
    variants: tuple[str, ...] = ()


def to_nanousd(picousd: int) -> int:
    """Round pico-USD to nano-USD, half to even."""
    nano, rest = divmod(picousd, 1000)
    return nano + (rest > 500 or (rest == 500 and nano % 2 == 1))


def bill_nanousd(
    price: Price,
    *,
    prompt_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    cache_write_tokens: int = 0,
    cache_write_1h_tokens: int = 0,
    units: Mapping[str, int] | None = None,
) -> int:
    """Return one request's bill: summed in pico-USD, rounded once to nano-USD, half to even.

    The arguments are those of `Consumed`.
    """
    consumed = Consumed(
        prompt_tokens=prompt_tokens,
        cached_tokens=cached_tokens,
        cache_write_tokens=cache_write_tokens,
        cache_write_1h_tokens=cache_write_1h_tokens,
        output_tokens=output_tokens,
        units=units or {},
    )
    return to_nanousd(consumed.cost_picousd(price))


@dataclass(slots=True, kw_only=True)
class Recorded:
    """One request at a billable path; filled in as it is answered. Times are `time.monotonic()`.

    `status` stays 0 when no status was sent. `output_tokens` are those that were generated. Further
    runs of models are in `billed_nanousd` only.
    """

    hit_number: int
    path: str
    headers: Mapping[str, str]
    json: object
    started_seconds: float
    resets_before: int = 0
    finished_seconds: float | None = None
    status: int = 0
    query: str = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    units: Mapping[str, int] = field(default_factory=dict)
    billed_nanousd: int = 0
    is_completed: bool = False
    is_client_disconnected: bool = False


def _note(record: Recorded, consumed: Consumed) -> None:
    record.prompt_tokens = consumed.prompt_tokens
    record.cached_tokens = consumed.cached_tokens
    record.cache_write_tokens = consumed.cache_write_tokens
    record.cache_write_1h_tokens = consumed.cache_write_1h_tokens
    record.output_tokens = consumed.output_tokens
    record.units = consumed.units


class Books:
    """The counts of one fake provider. Every method takes the one lock, for microseconds.

    A request is entered when it has arrived in full, and closed (with its bill) just *before* the
    last bytes of its answer are sent: whoever has the answer finds it counted.
    """

    def __init__(self, prices: PriceTable, *, keep_requests: int) -> None:
        self._prices = {model: Price(*price) for model, price in prices.items()}
        self._idle = threading.Condition(threading.Lock())
        self._in_flight = 0
        self._resets = 0
        self._requests: deque[Recorded] = deque(maxlen=keep_requests)
        self._zero()

    def _zero(self) -> None:
        self._hits_by_path: Counter[str] = Counter()
        self._completed = self._disconnected = self._unpriced = self._billed_nanousd = 0
        self._hits = self._other_requests = 0
        self._max_in_flight = self._in_flight
        self._requests.clear()

    def reset(self) -> None:
        """Set all counts to zero; requests in flight stay that, and are counted nowhere else."""
        with self._idle:
            self._resets += 1
            self._zero()

    def arrive(
        self, path: str, headers: Mapping[str, str], request: object, *, query: str = ""
    ) -> Recorded:
        """Enter a request at a billable path."""
        with self._idle:
            self._hits += 1
            self._hits_by_path[path] += 1
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
            record = Recorded(
                hit_number=self._hits,
                path=path,
                query=query,
                headers=headers,
                json=request,
                started_seconds=time.monotonic(),
                resets_before=self._resets,
            )
            self._requests.append(record)
            return record

    def arrive_elsewhere(self) -> None:
        """Count a request that nobody would bill (models, unknown paths)."""
        with self._idle:
            self._other_requests += 1

    def close(
        self, record: Recorded, charges: Sequence[Charge], *, is_billed: bool, is_completed: bool
    ) -> None:
        """Bill a request and take it out of flight; a second time does nothing.

        `charges` (the call's own first) are noted even if they aren't billed.
        """
        with self._idle:
            if record.finished_seconds is not None:
                return
            record.finished_seconds = time.monotonic()
            record.is_completed = is_completed
            if charges:
                _note(record, charges[0].consumed)
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.notify_all()
            if record.resets_before != self._resets:
                return
            self._completed += is_completed
            if is_billed:
                self._bill(record, charges)

    def _bill(self, record: Recorded, charges: Sequence[Charge]) -> None:
        picousd = 0
        for charge in charges:
            price = self.price(charge.model, charge.variants)
            if price is None:
                self._unpriced += 1
                return
            picousd += charge.consumed.cost_picousd(price)
        record.billed_nanousd = to_nanousd(picousd)
        self._billed_nanousd += record.billed_nanousd

    def client_left(self, record: Recorded) -> None:
        """Note that the client was gone before it had the whole answer."""
        with self._idle:
            if record.is_client_disconnected or record.resets_before != self._resets:
                return
            record.is_client_disconnected = True
            self._disconnected += 1
            if record.is_completed:
                record.is_completed = False
                self._completed -= 1

    def price(self, model: str, variants: Sequence[str] = ()) -> Price | None:
        """Return a model's price in these variants, also under its dated name."""
        suffix = "".join(f"@{variant}" for variant in variants)
        found = self._prices.get(model + suffix)
        return found or self._prices.get(_SNAPSHOT_DATE.sub("", model) + suffix)

    def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait until nothing is in flight; False if that took too long."""
        with self._idle:
            return self._idle.wait_for(lambda: self._in_flight == 0, timeout_seconds)

    def stats(self) -> dict[str, int | dict[str, int]]:
        """Return all counts, of one instant."""
        with self._idle:
            return {
                "hits": self._hits,
                "hits_by_path": dict(self._hits_by_path),
                "other_requests": self._other_requests,
                "completed": self._completed,
                "disconnected": self._disconnected,
                "in_flight": self._in_flight,
                "max_in_flight": self._max_in_flight,
                "billed_nanousd": self._billed_nanousd,
                "unpriced_requests": self._unpriced,
            }

    def requests(self) -> list[Recorded]:
        """Return the last requests, oldest first; those in flight are still being filled in."""
        with self._idle:
            return list(self._requests)

    def requests_json(self) -> list[dict[str, object]]:
        """Return the last requests as JSON values."""
        return [asdict(record) for record in self.requests()]
