"""What a fake provider saw and what it would bill: exact counts and integer money, thread-safe."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple


class Price(NamedTuple):
    """Pico-USD per token (USD per million tokens times 1,000,000)."""

    input_pico_per_token: int
    cached_pico_per_token: int
    output_pico_per_token: int


PRICES: Mapping[str, Price] = {
    "gpt-4o-mini": Price(150_000, 75_000, 600_000),
    "gpt-4o": Price(2_500_000, 1_250_000, 10_000_000),
    "gpt-4.1-mini": Price(400_000, 100_000, 1_600_000),
    "o4-mini": Price(1_100_000, 275_000, 4_400_000),
    "text-embedding-3-small": Price(20_000, 20_000, 0),
    "omni-moderation-latest": Price(0, 0, 0),
}
"""List prices of the models that the tests use; a table given at construction replaces it."""

_SNAPSHOT_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def bill_nanousd(
    price: Price, *, prompt_tokens: int, cached_tokens: int, output_tokens: int
) -> int:
    """Return one request's bill: summed in pico-USD, rounded once to nano-USD, half to even."""
    pico = (
        (prompt_tokens - cached_tokens) * price.input_pico_per_token
        + cached_tokens * price.cached_pico_per_token
        + output_tokens * price.output_pico_per_token
    )
    nano, rest = divmod(pico, 1000)
    return nano + (rest > 500 or (rest == 500 and nano % 2 == 1))


@dataclass(slots=True, kw_only=True)
class Recorded:
    """One request at a billable path; filled in as it is answered. Times are `time.monotonic()`.

    `status` stays 0 when no status was sent. `output_tokens` are those that were generated.
    """

    hit_number: int
    path: str
    headers: Mapping[str, str]
    json: object
    started_seconds: float
    resets_before: int = 0
    finished_seconds: float | None = None
    status: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    billed_nanousd: int = 0
    is_completed: bool = False
    is_client_disconnected: bool = False


class Books:
    """The counts of one fake provider. Every method takes the one lock, for microseconds.

    A request is entered when it has arrived in full, and closed (with its bill) just *before* the
    last bytes of its answer are sent: whoever has the answer finds it counted.
    """

    def __init__(self, prices: Mapping[str, tuple[int, int, int]], *, keep_requests: int) -> None:
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

    def arrive(self, path: str, headers: Mapping[str, str], request: object) -> Recorded:
        """Enter a request at a billable path."""
        with self._idle:
            self._hits += 1
            self._hits_by_path[path] += 1
            self._in_flight += 1
            self._max_in_flight = max(self._max_in_flight, self._in_flight)
            record = Recorded(
                hit_number=self._hits,
                path=path,
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

    def generated(
        self, record: Recorded, *, prompt_tokens: int, cached_tokens: int, output_tokens: int
    ) -> None:
        """Note what a request consumed; `close` bills it."""
        record.prompt_tokens = prompt_tokens
        record.cached_tokens = cached_tokens
        record.output_tokens = output_tokens

    def close(self, record: Recorded, model: str, *, is_billed: bool, is_completed: bool) -> None:
        """Bill a request and take it out of flight; a second time does nothing."""
        price = self.price(model)
        with self._idle:
            if record.finished_seconds is not None:
                return
            record.finished_seconds = time.monotonic()
            record.is_completed = is_completed
            self._in_flight -= 1
            if self._in_flight == 0:
                self._idle.notify_all()
            if record.resets_before != self._resets:
                return
            self._completed += is_completed
            if not is_billed:
                return
            if price is None:
                self._unpriced += 1
                return
            record.billed_nanousd = bill_nanousd(
                price,
                prompt_tokens=record.prompt_tokens,
                cached_tokens=record.cached_tokens,
                output_tokens=record.output_tokens,
            )
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

    def price(self, model: str) -> Price | None:
        """Return a model's price, also under its dated name."""
        found = self._prices.get(model)
        return found if found else self._prices.get(_SNAPSHOT_DATE.sub("", model))

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
