"""Writes `RESULTS.md` from the figures: the targets first, then everything that was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import breakdown
from benchmarks.client import CHUNKS, LONG_CHUNKS
from benchmarks.contention import ContentionResult
from benchmarks.gate import BUDGETS, GateResult
from benchmarks.memory import MemoryResult
from benchmarks.overhead import Added, FamilyResult
from benchmarks.results import Environment, Results
from benchmarks.startup import StartupResult

_FILE = Path(__file__).parent / "RESULTS.md"
_SHAPES = (
    ("sync", "one call"),
    ("async", "one call, async"),
    ("stream_asked", "stream of 51, usage asked for"),
    ("stream", "stream of 51 and one hidden"),
    ("async_stream", "the same, async"),
)
_VARIANTS = (
    ("sync", "2 messages"),
    ("messages_20", "20 messages"),
    ("tools_10", "2 messages, 10 tools"),
    ("memo_miss", "2 messages, no memo"),
)


def write(results: Results) -> None:
    """Write the report."""
    _FILE.write_text("\n".join(_document(results)) + "\n")


def targets(results: Results) -> str:
    """Write the table of targets as Markdown."""
    lines = ["| what | must reach | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {what} | {goal} | {found} | {verdict} |"
        for what, goal, found, verdict in _rows(results)
    ]
    return "\n".join(lines)


_Row = tuple[str, str, str, str]


def _rows(results: Results) -> Iterator[_Row]:
    by_name = {one.family: one for one in results.overhead}
    if by_name:
        yield from _overhead_rows(by_name)
    if results.gate is not None:
        yield from _gate_rows(results.gate)
    if results.contention is not None:
        yield from _contention_rows(results.contention)
    if results.startup is not None:
        start = results.startup.after_otel
        yield _row("import and install, beyond OpenTelemetry's own", start.total_ms, 150, "ms CPU")
    if results.memory is not None:
        yield from _memory_rows(results.memory)


def _overhead_rows(by_name: dict[str, FamilyResult]) -> Iterator[_Row]:
    for what, family, shape, goal in (
        ("a sync call, everything on, 5 budgets", "tollspan_all_5", "sync", 5_500),
        ("a sync call, everything on, 1 budget", "tollspan_all_1", "sync", 5_500),
        ("a sync call without span and metrics, 5 budgets", "tollspan_core_5", "sync", 1_800),
        ("a sync call without span and metrics, 1 budget", "tollspan_core_1", "sync", 1_800),
        ("a stream of 51 chunks, 5 budgets", "tollspan_all_5", "stream_asked", 7_500),
        ("a stream of 51 chunks, 1 budget", "tollspan_all_1", "stream_asked", 7_500),
    ):
        added = by_name[family].shapes[shape].bytecodes
        yield _row(f"added to {what}", added, goal, "bytecodes")
    unasked = by_name["tollspan_all_5"].shapes["stream"]
    client = unasked.parts.get("client", 0)
    yield (
        "the same where the usage was not asked for, 5 budgets",
        "≤ 7,500 bytecodes and what the SDK spends on the usage chunk",
        f"{unasked.bytecodes - client:,} and {client:,}",
        _verdict(unasked.bytecodes - client, 7_500),
    )
    for what, shape in (("a sync call", "sync"), ("a stream", "stream")):
        ours = by_name["tollspan_all_1"].shapes[shape].cpu
        theirs = by_name["official"].shapes[shape].cpu
        if ours is None or theirs is None:
            continue
        yield (
            f"CPU of the calling thread, {what}, 1 budget, by the bare call's",
            "≤ the official instrumentor's",
            f"{100 * ours.share:.0f} % against {100 * theirs.share:.0f} %",
            _verdict(ours.share, theirs.share),
        )


def _gate_rows(found: GateResult) -> Iterator[_Row]:
    what = f"match and hold, {BUDGETS} budgets"
    yield _row(f"{what}, in memory, p50", found.memory_hold.p50, 10, "µs")
    yield _row(f"{what}, SQLite alone, p50", found.sqlite_hold.p50, 40, "µs")
    times = found.many_owners.p50 / found.few_owners.p50
    yield (
        "match and hold, 10,000 customers' budgets against 10, of which 10 call, in memory, p50",
        "≤ 1.5 times",
        f"{times:.2f} times",
        _verdict(times, 1.5),
    )
    if found.many_assigned is not None and found.few_assigned is not None:
        times = found.many_assigned.p50 / found.few_assigned.p50
        yield (
            "match and hold, 10,000 customers with a plan against 10, 10 call, in memory, p50",
            "≤ 1.5 times",
            f"{times:.2f} times",
            _verdict(times, 1.5),
        )
    yield _row("bound a request", found.bound.p50, 10, "µs")
    yield _row("price an event", found.rate.p50, 5, "µs")


def _contention_rows(found: ContentionResult) -> Iterator[_Row]:
    what = f"hold from a lease, {BUDGETS} budgets, {found.processes} busy processes, p99"
    if found.leased_hold is not None:
        yield _row(what, found.leased_hold.p99, 1_000, "µs")


def _memory_rows(found: MemoryResult) -> Iterator[_Row]:
    yield _row(f"memory after {found.calls:,} calls", found.added_mib, 30, "MiB")
    yield _row(f"growth of it over {found.calls:,} calls", found.growth_mib, 1, "MiB")


def _row(what: str, value: float, goal: float, unit: str) -> _Row:
    shown = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return what, f"≤ {goal:,} {unit}", f"{shown} {unit}", _verdict(value, goal)


def _verdict(value: float, goal: float) -> str:
    if value <= goal:
        return "met"
    percent = 100 * (value / goal - 1)
    return f"**missed by {percent:.{0 if percent >= 1 else 1}f} %**"


def _document(results: Results) -> Iterator[str]:
    yield "# Measured figures"
    yield ""
    yield "Written by `python -m benchmarks`; do not edit."
    yield ""
    if results.environment is not None:
        yield from _environment(results.environment)
    yield "## Targets"
    yield ""
    yield targets(results)
    yield ""
    if results.overhead:
        yield from _overhead(results.overhead)
    for title, section in (
        ("Gate, bound and price, each alone in a loop", _gate(results.gate)),
        ("Contention on one ledger", _contention(results.contention)),
        ("Start", _startup(results.startup)),
        ("Memory", _memory(results.memory)),
    ):
        if section:
            yield from (f"## {title}", "", *section, "")


def _environment(found: Environment) -> Iterator[str]:
    versions = ", ".join(f"{name} {number}" for name, number in found.versions.items())
    yield (
        f"{found.date}. Python {found.python}, SQLite {found.sqlite}, {found.system}, "
        f"{found.cores} cores (load of the 15 minutes before: {found.load:.1f}). {versions}."
    )
    yield ""


def _overhead(families: list[FamilyResult]) -> Iterator[str]:
    by_name = {family.family: family for family in families}
    yield "## What is added to a call"
    yield ""
    yield _OVERHEAD_METHOD
    yield from _matrix("Bytecodes (function entries)", families, _SHAPES, _counted)
    yield from _per_chunk(families)
    yield from _matrix("CPU time of the calling thread, µs", families, _SHAPES, _cpu)
    yield from _matrix("CPU time of the process, µs", families, _SHAPES, _process_cpu)
    ours = [one for one in families if one.family.startswith("tollspan")]
    others = [by_name["official"]] if "official" in by_name else []
    yield from _matrix("Bytecodes by request", ours + others, _VARIANTS, _counted)
    yield "### Parts of a call, bytecodes, everything on, 5 budgets"
    yield ""
    yield breakdown.table(by_name[breakdown.FAMILY])
    yield ""


def _matrix(
    title: str,
    families: list[FamilyResult],
    shapes: tuple[tuple[str, str], ...],
    show: Callable[[Added], str | None],
) -> Iterator[str]:
    """Write one table: a row for each family, a column for each shape with something to show."""
    used = [
        (shape, name)
        for shape, name in shapes
        if any(shape in one.shapes and show(one.shapes[shape]) for one in families)
    ]
    yield f"### {title}"
    yield ""
    yield "| | " + " | ".join(name for _, name in used) + " |"
    yield "|---|" + "---:|" * len(used)
    for family in families:
        row = [
            (show(family.shapes[shape]) if shape in family.shapes else None) or "-"
            for shape, _ in used
        ]
        yield f"| {family.title} | " + " | ".join(row) + " |"
    yield ""


def _counted(added: Added) -> str:
    mark = "" if added.is_steady else " ~"
    return f"{added.bytecodes:+,} ({added.entries:+,}){mark}"


def _cpu(added: Added) -> str | None:
    if added.cpu is None:
        return None
    return f"{100 * added.cpu.share:.0f} %: {added.cpu.added_us} of {added.cpu.bare_us:,.0f}"


def _process_cpu(added: Added) -> str | None:
    if added.cpu is None or added.cpu.added_process_us is None:
        return None
    return str(added.cpu.added_process_us)


def _per_chunk(families: list[FamilyResult]) -> Iterator[str]:
    more = LONG_CHUNKS - CHUNKS
    yield f"### Bytecodes per chunk, from {CHUNKS} to {LONG_CHUNKS} chunks of a stream"
    yield ""
    yield "| | sync | async |"
    yield "|---|---:|---:|"
    for family in families:
        shapes = family.shapes
        sync = (shapes["stream_long"].bytecodes - shapes["stream"].bytecodes) / more
        asynchronous = shapes["async_stream_long"].bytecodes - shapes["async_stream"].bytecodes
        yield f"| {family.title} | {sync:+,.1f} | {asynchronous / more:+,.1f} |"
    yield ""


def _gate(found: GateResult | None) -> list[str]:
    if found is None:
        return []
    rows = (
        (f"match and hold, {BUDGETS} budgets, memory", found.memory_hold),
        ("price, store and settle, memory", found.memory_close),
        (f"match and hold, {BUDGETS} budgets, SQLite", found.sqlite_hold),
        ("price, store and settle, SQLite", found.sqlite_close),
        ("match and hold, 10 customers' budgets, 10 call in turn, memory", found.few_owners),
        ("match and hold, 10,000 customers' budgets, 10 call in turn, memory", found.many_owners),
        ("match and hold, 10,000 customers' budgets, all call in turn, memory", found.all_owners),
        ("match and hold, 10 customers with a plan, 10 call in turn", found.few_assigned),
        (
            "match and hold, 10,000 customers with a plan, 10 call in turn",
            found.many_assigned,
        ),
        ("bound a request of a kind met before", found.bound),
        ("bound a request with a limit not met before", found.bound_new),
        ("price an event", found.rate),
    )
    return [
        _GATE_METHOD,
        "| step | µs |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows if value is not None),
    ]


def _contention(found: ContentionResult | None) -> list[str]:
    if found is None:
        return []
    rows = (
        ("hold", found.hold),
        ("price, store and settle", found.settle),
        ("hold from a lease", found.leased_hold),
        ("price, store and settle out of a lease", found.leased_settle),
        ("control: spin 30 µs in place of the hold", found.control_hold),
        ("control: spin 30 µs in place of the settling", found.control_settle),
    )
    return [
        f"{found.processes} processes, {found.calls_per_second:,.0f} calls a second in all. "
        + _CONTENTION_METHOD,
        "| step | µs |",
        "|---|---:|",
        *(f"| {name} | {value} |" for name, value in rows if value is not None),
    ]


def _startup(found: StartupResult | None) -> list[str]:
    if found is None:
        return []
    rows = (
        ("in a process with OpenTelemetry's API and SDK", found.after_otel),
        ("in one with the OpenAI SDK too", found.after_openai),
    )
    return [
        _STARTUP_METHOD,
        "| | import | install | both |",
        "|---|---:|---:|---:|",
        *(
            f"| {name} | {one.import_ms:.0f} | {one.install_ms:.0f} | "
            f"{one.total_ms:.0f} ({one.lowest_ms:.0f} to {one.highest_ms:.0f}) |"
            for name, one in rows
        ),
    ]


def _memory(found: MemoryResult | None) -> list[str]:
    if found is None:
        return []
    samples = ", ".join(f"{value:.1f}" for value in found.samples_mib)
    return [
        f"{found.warm_up_mib:.1f} MiB after the warm-up, {found.added_mib:.1f} MiB after "
        f"{found.calls:,} calls, {found.streams:,} of them streams; on the way: {samples}. "
        f"It took {found.seconds:.0f} s. " + _MEMORY_METHOD
    ]


_OVERHEAD_METHOD = """\
One process for each row, HTTP replaced by an in-process transport, the same OpenTelemetry SDK
providers around all (batch processor, in-memory exporter and reader). The request: `gpt-4o-mini`,
2 messages of 4 kB together, `max_completion_tokens`; the answer reports cached tokens. tollspan's
calls are attributed to a customer, a session and an agent. Others run at their defaults;
OpenLLMetry and OpenInference then copy the messages onto the span.

Bytecodes: every instruction that the calling thread executes, by `sys.settrace`, less those of the
bare client; run until the same number comes thrice (`~`: it did not, the median). They rank without
noise and decide.

CPU: `time.thread_time_ns`, bare and wrapped calls in turn, median of 7 rounds of 60 pairs
(streams: 12), lowest to highest round, in µs and as a share of the bare call measured beside it:
rows are minutes apart, and a share feels the machine's other work less. The first row shows the
noise. CPU of the process includes worker threads, all of them flushed; what tollspan moves to its
worker (metrics) is only there.

Where the program does not ask for a stream's usage, tollspan does, and hides the chunk: the SDK
then parses one chunk more, which is `client` in the parts.
"""
_GATE_METHOD = """\
Wall time of a step in µs: p50 / p99 / p99.9 / max. Extraction and counting bytes are apart.
"""
_CONTENTION_METHOD = """\
Each uses 0.5 ms of CPU and sleeps 0.5 ms between its steps, far more than real calls to a provider.
Wall time in µs: p50 / p99 / p99.9 / max. What the control has in its tail is the scheduler's, since
there is more work than there are cores.
"""
_STARTUP_METHOD = """\
CPU milliseconds of the process, median of 10 starts (lowest to highest), 5 budgets, a new ledger.
"""
_MEMORY_METHOD = """\
Resident memory beyond that of the process with OpenTelemetry and the OpenAI SDK loaded; everything
on, 5 budgets. The SDK's `request` is replaced by one that returns a ready answer. What
OpenTelemetry keeps until it exports is in the figure.
"""
