"""Pictures of sums as numbers: where bars stand, how tall they are. Templates draw them as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

import msgspec

from tollspan.ledger.central import Bucket

from .ranges import Span

WIDTH: Final = 720
HEIGHT: Final = 160
_GAP: Final = 0.2
_MOST_BARS: Final = 400
_LABELS: Final = 6
_PARTS: Final = 2
_ROUND: Final = (10, 12, 16, 20, 24, 30, 40, 50, 60, 80, 100)
Unit = Literal["money", "count"]
_FORMATS: Final[Mapping[Bucket, str]] = {"hour": "%a %H:00", "day": "%b %d", "month": "%b %Y"}
_NS: Final = 10**9


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """One bar, in the picture's own units; `label` says when, `amount` how much."""

    x: str
    y: str
    width: str
    height: str
    label: str
    amount: int


class Tick(msgspec.Struct, frozen=True, kw_only=True):
    """A word under the picture, at a place from its left."""

    x: str
    label: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line across the picture, at a height that stands for an amount."""

    y: str
    amount: int


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """Bars over time.

    Attributes:
        bars: In the order of time.
        ticks: Words under them.
        lines: Across, at round amounts.
        most: The largest amount.
        unit: `money`: amounts are nano-USD; `count`: numbers of things.
        bucket: Of time: what one bar stands for.
    """

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    most: int
    unit: Unit
    bucket: str
    width: int = WIDTH
    height: int = HEIGHT


def chart(
    span: Span, bucket: Bucket, amounts: Mapping[int, int], unit: Unit = "money"
) -> Chart | None:
    """Return a picture; None where there is nothing to be seen, or more than a picture can show.

    Args:
        span: Of time.
        bucket: The size of its parts.
        amounts: By the start of a part, in nanoseconds since the epoch; none for nothing.
        unit: What they are.
    """
    if not amounts:
        return None
    starts = _starts(span, bucket, min(amounts))
    labelled = [(at.strftime(_FORMATS[bucket]), amounts.get(_unix_ns(at), 0)) for at in starts]
    return bars_of(labelled, unit, bucket)


def bars_of(labelled: Sequence[tuple[str, int]], unit: Unit, bucket: str) -> Chart | None:
    """Return a picture of amounts with their labels; None where there is nothing to be seen."""
    most = max((amount for _, amount in labelled), default=0)
    if most <= 0:
        return None
    top = _round_up(most)
    step = WIDTH / len(labelled)
    bars: list[Bar] = []
    for index, (label, amount) in enumerate(labelled):
        height = max(0, amount) * HEIGHT / top
        bars.append(
            Bar(
                x=_place(index * step + step * _GAP / 2), y=_place(HEIGHT - height),
                width=_place(step * (1 - _GAP)), height=_place(height), label=label, amount=amount,
            )
        )  # fmt: skip
    every = -(-len(bars) // _LABELS)
    ticks = [
        Tick(x=_place((index + 0.5) * step), label=bars[index].label)
        for index in range(0, len(bars), every)
    ]
    lines = [
        Line(y=_place(HEIGHT - HEIGHT * part / _PARTS), amount=top * part // _PARTS)
        for part in range(1, _PARTS + 1)
    ]
    return Chart(
        bars=tuple(bars), ticks=tuple(ticks), lines=tuple(lines), most=most, unit=unit,
        bucket=bucket,
    )  # fmt: skip


def _round_up(amount: int) -> int:
    """Return the next amount that two equal parts of say themselves in one or two digits."""
    size: int = 10 ** (len(str(amount)) - 1)
    for times in _ROUND:
        if amount * 10 <= times * size:
            return -(-times * size // (10 * _PARTS)) * _PARTS
    raise AssertionError("the last is larger than any digit")


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
