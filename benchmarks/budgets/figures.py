"""What the benchmarks of budgets measured, in one value, kept in `figures.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from benchmarks.results import Environment

FILE = Path(__file__).parent / "figures.json"


class Spot(msgspec.Struct, kw_only=True, frozen=True):
    """Wall time of one step, in µs.

    Attributes:
        p50: The lowest of the rounds' medians: the machine's other work makes them longer only.
        p99: The median of the rounds' p99.
        steps: Of all rounds.
    """

    p50: float
    p99: float
    steps: int


class Holding(msgspec.Struct, kw_only=True, frozen=True):
    """Match and hold at one place.

    Attributes:
        place: Who holds the money, as the tables name it.
        touched: How many budgets each call touches.
        threads: How many threads call; 0 for one that calls in a loop, without rest.
        hold, close: Match and hold; price, store and settle. None for the control of threads.
    """

    place: str
    touched: int
    threads: int
    hold: Spot
    close: Spot | None = None


class Growth(msgspec.Struct, kw_only=True, frozen=True):
    """Match and hold at different sizes, measured in turn.

    Attributes:
        what: What grows, and who calls.
        place: Who holds the money.
        sizes: How many there are of what grows.
        spots: Match and hold at each size.
    """

    what: str
    place: str
    sizes: list[int]
    spots: list[Spot]

    @property
    def ratio(self) -> float:
        """The dearest size's p50 by that of the smallest."""
        return max(one.p50 for one in self.spots) / self.spots[0].p50


Kind = Literal["maximum given", "no maximum"]


class Stranding(msgspec.Struct, kw_only=True, frozen=True):
    """What one set of lease settings led to; means of several runs.

    Attributes:
        name: The settings, in words.
        kind: Whether calls have a maximum of output.
        rate: Calls a second of each of the processes.
        limit: The budget's, in bounds of calls in the mean.
        runs: How many.
        leased: Share of the limit that leases kept at the first denial: neither spent nor held for
            a call.
        held: Share that calls in flight held then beyond what they came to cost.
        left: Share that was left in the end, after others had tried for a while; None where nobody
            tried any more.
        asked: How often the authority was asked for each 1,000 calls before the first denial.
        killed: Share of the limit that the lease of one process had beyond its calls, while a
            quarter to a half of the limit was spent: what a kill leaves besides calls in flight.
            None where nobody looked.
    """

    name: str
    kind: Kind
    rate: float
    limit: int
    runs: int
    leased: float
    held: float
    left: float | None
    asked: float
    killed: float | None


class Figures(msgspec.Struct, kw_only=True):
    """All of it; what did not run is empty.

    Attributes:
        seconds: How long it took.
        load: Of the minute before, and at the end.
    """

    environment: Environment | None = None
    is_quick: bool = False
    seconds: float = 0.0
    load: tuple[float, float] = (0.0, 0.0)
    holding: list[Holding] = []
    growth: list[Growth] = []
    stranding: list[Stranding] = []
    living: list[Stranding] = []


def load(file: Path = FILE) -> Figures:
    """Return the figures of the last run."""
    return msgspec.json.decode(file.read_bytes(), type=Figures)


def save(figures: Figures, file: Path = FILE) -> None:
    """Keep the figures."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
