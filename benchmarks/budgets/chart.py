"""Draws a line chart as SVG, in plain text that a diff can show."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import msgspec

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 210, 44, 56
_COLOURS = ("#1f6feb", "#bf3989", "#1a7f37", "#bc4c00", "#6639ba", "#57606a", "#0a7d8c")


class Line(msgspec.Struct, kw_only=True, frozen=True):
    """One series of a chart.

    Attributes:
        name: For the legend.
        points: `(x, y)` in the axes' units, in order of x.
        is_dashed: It is drawn as a broken line.
        colour: Index of its colour; None for the next.
    """

    name: str
    points: list[tuple[float, float]]
    is_dashed: bool = False
    colour: int | None = None


class Axis(msgspec.Struct, kw_only=True, frozen=True):
    """One axis.

    Attributes:
        title: With the unit.
        ticks: Where it has a mark; the first and the last are its ends.
        is_log: Equal steps are equal ratios.
    """

    title: str
    ticks: list[float]
    is_log: bool = False

    def place(self, value: float) -> float:
        """Return where a value lies: 0 at the first tick, 1 at the last."""
        low, high = self._scaled(self.ticks[0]), self._scaled(self.ticks[-1])
        return (self._scaled(value) - low) / (high - low)

    def _scaled(self, value: float) -> float:
        return math.log(value) if self.is_log else value


def log_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis of powers of ten around values above 0."""
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    ticks = [10.0**power for power in range(low, max(high, low + 1) + 1)]
    return Axis(title=title, ticks=ticks, is_log=True)


def linear_axis(title: str, values: Sequence[float]) -> Axis:
    """Return an axis from 0 to beyond the values, in about five round steps."""
    rough = max(values) / 5 or 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(size * power for size in (1, 2, 5, 10) if size * power >= rough)
    count = math.ceil(max(values) / step) or 1
    return Axis(title=title, ticks=[round(number * step, 9) for number in range(count + 1)])


def draw(title: str, across: Axis, up: Axis, lines: Sequence[Line]) -> str:
    """Draw a chart."""

    def x(value: float) -> float:
        return _LEFT + across.place(value) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - up.place(value) * (_HEIGHT - _TOP - _BOTTOM)

    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" font-size="12" '
        f'role="img"><title>{escape(title)}</title>'
    )
    parts = [
        head,
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="bold">{escape(title)}</text>',
        *_frame(across, up, x, y),
    ]
    for number, line in enumerate(lines):
        parts += _series(line, number, x, y)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _frame(
    across: Axis, up: Axis, x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    """Draw the axes, their marks and titles."""
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts: list[str] = []
    for tick in up.ticks:
        at = f"{y(tick):.1f}"
        parts.append(f'<path d="M{_LEFT} {at}H{right}" stroke="#d0d7de"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{at}" dy="4" text-anchor="end">{_shown(tick)}</text>'
        )
    for tick in across.ticks:
        at = f"{x(tick):.1f}"
        parts.append(f'<path d="M{at} {_TOP}V{bottom}" stroke="#eaeef2"/>')
        parts.append(f'<text x="{at}" y="{bottom + 18}" text-anchor="middle">{_shown(tick)}</text>')
    middle, height = (_LEFT + right) / 2, (_TOP + bottom) / 2
    parts.append(
        f'<text x="{middle:.1f}" y="{_HEIGHT - 14}" text-anchor="middle">'
        f"{escape(across.title)}</text>"
    )
    parts.append(
        f'<text transform="translate(18 {height:.1f}) rotate(-90)" text-anchor="middle">'
        f"{escape(up.title)}</text>"
    )
    return parts


def _series(
    line: Line, number: int, x: Callable[[float], float], y: Callable[[float], float]
) -> list[str]:
    """Draw one line, its points, and its name in the legend."""
    index = number if line.colour is None else line.colour
    colour = _COLOURS[index % len(_COLOURS)]
    places = [(f"{x(one):.1f}", f"{y(other):.1f}") for one, other in line.points]
    dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
    path = "L".join(f"{one} {other}" for one, other in places)
    at = _TOP + 12 + 22 * number
    left = _WIDTH - _RIGHT + 16
    return [
        f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>',
        *(f'<circle cx="{one}" cy="{other}" r="3" fill="{colour}"/>' for one, other in places),
        f'<path d="M{left} {at}h20" stroke="{colour}" stroke-width="2"{dashes}/>',
        f'<text x="{left + 26}" y="{at + 4}">{escape(line.name)}</text>',
    ]


def _shown(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g} M"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:g}"
