"""Writes the page of figures and its plots from what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.budgets import growth, holding, living, stranding
from benchmarks.budgets.chart import Line, draw, linear_axis, log_axis
from benchmarks.budgets.figures import Figures, Growth, Holding, Spot, Stranding

FOLDER = Path(__file__).parents[2] / "docs" / "reference"
PAGE = "speed-of-budgets.md"
HOLD_PLOT = "speed-of-holds.svg"
GROWTH_PLOT = "speed-growth.svg"
STRANDING_PLOT = "stranded-money.svg"


def write(figures: Figures, folder: Path = FOLDER) -> None:
    """Write the page and the plots into a folder."""
    for name, text in files(figures).items():
        (folder / name).write_text(text)


def files(figures: Figures) -> dict[str, str]:
    """Return the page and the plots by their names."""
    return {
        PAGE: "\n".join(_document(figures)) + "\n",
        HOLD_PLOT: _hold_plot(figures.holding),
        GROWTH_PLOT: _growth_plot(figures.growth),
        STRANDING_PLOT: _stranding_plot(figures.stranding),
    }


def _document(figures: Figures) -> Iterator[str]:
    yield "# Speed of budgets"
    yield ""
    yield "Written by `python -m benchmarks budgets` from `benchmarks/budgets/figures.json`;"
    yield "do not edit. What the whole of a call costs is in `benchmarks/RESULTS.md`."
    yield ""
    yield from _environment(figures)
    yield "## Match and hold"
    yield ""
    yield _HOLD_METHOD
    yield f"![Match and hold by budgets touched]({HOLD_PLOT})"
    yield ""
    yield from _touched(figures.holding)
    yield from _threads(figures.holding)
    yield "## Growth"
    yield ""
    yield _GROWTH_METHOD
    yield f"![Growth with budgets and accounts]({GROWTH_PLOT})"
    yield ""
    yield from _growth(figures.growth)
    yield "## Money that leases keep, and questions"
    yield ""
    yield _STRANDING_METHOD
    yield f"![Stranded money against questions]({STRANDING_PLOT})"
    yield ""
    yield from _stranding(figures.stranding)
    yield "### With real processes"
    yield ""
    yield _LIVING_METHOD
    yield from _living(figures.living)


def _environment(figures: Figures) -> Iterator[str]:
    found = figures.environment
    if found is None:
        return
    before, after = figures.load
    yield (
        f"{found.date}. Python {found.python}, SQLite {found.sqlite}, {found.system}, "
        f"{found.cores} cores; Redis and PostgreSQL on the same machine. The load of a minute was "
        f"{before:.1f} before and {after:.1f} after; it took {figures.seconds:.0f} s."
    )
    yield ""


def _touched(found: list[Holding]) -> Iterator[str]:
    yield "Wall time in µs, p50 / p99, by the number of budgets that a call touches:"
    yield ""
    head = " | ".join(f"{touched}" for touched in holding.TOUCHED)
    yield f"| who holds the money | {head} | price, store and settle, {holding.USUAL} |"
    yield "|---|" + "---:|" * (len(holding.TOUCHED) + 1)
    by_key = {(one.place, one.touched): one for one in found if not one.threads}
    for place in dict.fromkeys(one.place for one in by_key.values()):
        rows = [by_key[place, touched] for touched in holding.TOUCHED]
        closing = by_key[place, holding.USUAL].close
        yield (
            f"| {place} | "
            + " | ".join(_shown(one.hold) for one in rows)
            + (f" | {_shown(closing) if closing else ''} |")
        )
    yield ""


def _threads(found: list[Holding]) -> Iterator[str]:
    yield (
        f"The same with {holding.USUAL} budgets, by threads, which make "
        f"{holding.CALLS_A_SECOND} calls a second together:"
    )
    yield ""
    yield "| who holds the money | " + " | ".join(f"{n} threads" for n in holding.THREADS) + " |"
    yield "|---|" + "---:|" * len(holding.THREADS)
    by_key = {(one.place, one.threads): one for one in found if one.threads}
    for place in dict.fromkeys(one.place for one in by_key.values()):
        spots = [_shown(by_key[place, threads].hold) for threads in holding.THREADS]
        yield f"| {place} | " + " | ".join(spots) + " |"
    yield ""


def _growth(found: list[Growth]) -> Iterator[str]:
    yield "| what grows | who holds the money | p50 / p99 in µs, by how many there are | growth | |"
    yield "|---|---|---|---:|---|"
    for one in found:
        pairs = zip(one.sizes, one.spots, strict=True)
        spots = ", ".join(f"{size:,}: {_shown(spot)}" for size, spot in pairs)
        verdict = "flat" if one.ratio <= growth.MOST_GROWTH else "**not flat**"
        yield f"| {one.what} | {one.place} | {spots} | {one.ratio:.2f} | {verdict} |"
    yield ""


def _stranding(found: list[Stranding]) -> Iterator[str]:
    yield (
        "| settings | limit | calls a second | calls | kept by leases | held by calls | both | "
        "left in the end | after a kill | questions for 1,000 calls |"
    )
    yield "|---|---:|---:|---|---:|---:|---:|---:|---:|---:|"
    for one in found:
        yield (
            f"| {one.name} | {one.limit:,} | {one.rate:g} | {one.kind} | {one.leased:.2%} | "
            f"{one.held:.2%} | {one.leased + one.held:.2%} | {_share(one.left)} | "
            f"{_share(one.killed)} | {one.asked:,.0f} |"
        )
    yield ""


def _living(found: list[Stranding]) -> Iterator[str]:
    yield "| who holds the money | runs | kept by leases | held by calls | both | questions |"
    yield "|---|---:|---:|---:|---:|---:|"
    for one in found:
        yield (
            f"| {one.name} | {one.runs} | {one.leased:.2%} | {one.held:.2%} | "
            f"{one.leased + one.held:.2%} | {one.asked:,.0f} |"
        )
    yield ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"


def _shown(spot: Spot) -> str:
    return " / ".join(
        f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in (spot.p50, spot.p99)
    )


def _hold_plot(found: list[Holding]) -> str:
    looped = [one for one in found if not one.threads]
    lines: list[Line] = []
    for number, place in enumerate(dict.fromkeys(one.place for one in looped)):
        mine = [one for one in looped if one.place == place]
        points = [(float(one.touched), one.hold.p50) for one in mine]
        lines.append(Line(name=place, points=points, colour=number))
    across = log_axis("budgets that a call touches", [1, 100])
    up = log_axis("match and hold, p50, µs", [y for line in lines for _, y in line.points])
    return draw("Match and hold by budgets touched", across, up, lines)


def _growth_plot(found: list[Growth]) -> str:
    lines = [
        Line(
            name=f"{one.place}: {one.what.split(',')[0]}",
            points=[
                (float(size), spot.p50 / one.spots[0].p50)
                for size, spot in zip(one.sizes, one.spots, strict=True)
            ],
            is_dashed=one.what.startswith("accounts"),
            colour=number,
        )
        for number, one in enumerate([one for one in found if "call" in one.what.split()[-1]])
    ]
    across = log_axis("how many there are", [x for line in lines for x, _ in line.points])
    up = linear_axis("p50 by that of the smallest", [2.0])
    return draw("Growth with budgets and accounts", across, up, lines)


def _stranding_plot(found: list[Stranding]) -> str:
    usual = [
        one
        for one in found
        if (one.rate, one.kind, one.limit)
        == (stranding.USUAL_RATE, stranding.KINDS[0], stranding.LIMIT_IN_BOUNDS)
    ]
    lines = [
        Line(name=one.name, points=[(one.asked, 100 * one.leased)], colour=number % 7)
        for number, one in enumerate(usual)
        if one.name.startswith("idle") or "=" not in one.name
    ]
    across = log_axis("questions for 1,000 calls", [x for line in lines for x, _ in line.points])
    up = linear_axis(
        "kept by leases, % of the limit", [y for line in lines for _, y in line.points]
    )
    return draw("Stranded money against questions", across, up, lines)


_HOLD_METHOD = f"""\
`BudgetGate.authorize` with the bound of the call given: find the budgets, and hold in all of them
or in none. Calls follow each other without rest in one thread, each settled before the next. The
p50 is the lowest of seven rounds' medians, as other work on the machine only makes it longer; the
p99 is the median of theirs. "Each call" asks the server for every single call
(`TOLLSPAN_LEASES=never`). With leases, who waits for a grant is counted too.

Threads rest between their calls, so that caches are cold, and more threads are no more work. The
control spins for 20 µs of CPU time in place of a call, {holding.CALLS_A_SECOND} times a second too:
it shows what the machine's scheduler and Python's lock do alone.
"""
_GROWTH_METHOD = f"""\
Sizes are measured in turn, round by round. Growth is the dearest size's p50 by that of the
smallest; at most {growth.MOST_GROWTH} is called flat. Budgets are each customer's own, by name
(`where`); ten of the customers call. Of a call in a session of its own nothing is known: its
budgets are looked for, and one of them nobody has used. Accounts are of sessions
(`per: [session]`).
"""
_STRANDING_METHOD = f"""\
Simulated in virtual time: {stranding.PROCESSES} processes with the real lease code, the real
authority in memory, and calls that last three seconds in the mean, of bounds that differ widely.
The limit is {stranding.LIMIT_IN_BOUNDS:,} bounds in the mean, or {stranding.WIDE:,}, at which
leases grow larger; a call with a maximum of output uses half of its bound in the
mean. Without one the model's own most is held, 20 times as much, of which a twentieth is used.
Figures are means of {stranding.RUNS} runs, at the first call that is denied, in shares of the
limit.
The goal is at most 3 % kept by leases and calls together, where calls have a maximum; at 20 calls a
second of each process, and without a maximum, calls in flight alone hold far more of such a limit.
*Questions* are grants and returns; settling is told in batches beside them. *After a kill* is what
the lease of one process had beyond its calls while a quarter to a half of the limit was spent: what
stays unresolved when it is killed, besides its calls in flight. `room` and `limit` are the shares
of what is left, and of the limit, that one grant may take at most.
"""
_LIVING_METHOD = f"""\
{stranding.PROCESSES} processes of the system, each with its own connection, make such calls in real
time, {stranding.USUAL_RATE:g} a second each, until one is denied; the limit is {living.LIMIT:,}
bounds in the mean. All are on this machine: the file is theirs together, and Redis is asked over
loopback. The first row is the simulation at that limit.
"""
