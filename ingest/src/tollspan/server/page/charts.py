"""Pictures of sums as numbers: where bars stand, how tall they are. Templates draw them as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from tollspan.ledger.central import Bucket

from .ranges import Span

WIDTH: Final = 720
HEIGHT: Final = 160
_GAP: Final = 0.2
_MOST_BARS: Final = 400
_LABELS: Final = 6
_FORMATS: Final[Mapping[Bucket, str]] = {"hour": "%a %H:00", "day": "%b %d", "month": "%b %Y"}
_NS: Final = 10**9


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar, in the picture's own units; `label` says when, `nanousd` how much."""

    x: str
    y: str
    width: str
    height: str
    label: str
    nanousd: int


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A word under the picture, at a place from its left."""

    x: str
    label: str


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Bars over time, `most_nanousd` being as tall as the picture."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    most_nanousd: int
    bucket: Bucket
    width: int = WIDTH
    height: int = HEIGHT


def chart(span: Span, bucket: Bucket, costs: Mapping[int, int]) -> Chart | None:
    """Return a picture; None where there is nothing to be seen, or more than a picture can show.

    Args:
        span: Of time.
        bucket: The size of its parts.
        costs: nano-USD by the start of a part, in nanoseconds since the epoch; none for nothing.
    """
    if not costs:
        return None
    starts = _starts(span, bucket, min(costs))
    most = max(costs.values())
    if not starts or most <= 0:
        return None
    step = WIDTH / len(starts)
    bars: list[Bar] = []
    for index, start in enumerate(starts):
        nanousd = costs.get(_unix_ns(start), 0)
        height = max(0, nanousd) * HEIGHT / most
        bars.append(
            Bar(
                x=_place(index * step + step * _GAP / 2), y=_place(HEIGHT - height),
                width=_place(step * (1 - _GAP)), height=_place(height),
                label=start.strftime(_FORMATS[bucket]), nanousd=nanousd,
            )
        )  # fmt: skip
    every = -(-len(bars) // _LABELS)
    ticks = [
        Tick(x=_place((index + 0.5) * step), label=bars[index].label)
        for index in range(0, len(bars), every)
    ]
    return Chart(bars=tuple(bars), ticks=tuple(ticks), most_nanousd=most, bucket=bucket)


def _starts(span: Span, bucket: Bucket, first_unix_ns: int) -> Sequence[datetime]:
    """Return the starts of all parts, from the first of which there is anything where that is late.

    Years without anything before it are left out, since a span without a beginning has many.
    """
    at = span.since
    first = datetime.fromtimestamp(first_unix_ns // _NS, UTC)
    if len(list(_steps(at, span.until, bucket))) > _MOST_BARS:
        at = first
    found = list(_steps(at, span.until, bucket))
    return found if len(found) <= _MOST_BARS else ()


def _steps(at: datetime, until: datetime, bucket: Bucket) -> list[datetime]:
    if bucket == "month":
        at = at.replace(day=1)
    found: list[datetime] = []
    while at < until and len(found) <= _MOST_BARS:
        found.append(at)
        if bucket == "hour":
            at += timedelta(hours=1)
        elif bucket == "day":
            at += timedelta(days=1)
        else:
            at = (at + timedelta(days=32)).replace(day=1)
    return found


def share(part: int, whole: int, width: int = 100) -> str:
    """Return how wide the bar of a part is."""
    return _place(max(0, part) * width / whole) if whole > 0 else "0"


def _place(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _unix_ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _NS
