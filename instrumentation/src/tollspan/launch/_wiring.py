"""Wires the rooms together, once for each process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec
from opentelemetry import _logs, metrics
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tollspan import attribution
from tollspan.budget import BudgetGate, CallSink, RuleSet, Unresolved, UnresolvedReason
from tollspan.instrumentation import (
    DECISIONS,
    LISTENERS,
    DecisionLog,
    Funnel,
    JobDesk,
    Lifecycle,
    MetricsRecorder,
    SpanEmitter,
    Worker,
    read_turns,
)
from tollspan.instrumentation.anthropic import ANTHROPIC
from tollspan.instrumentation.mcp import PACKAGE as MCP
from tollspan.instrumentation.mcp import McpHooks
from tollspan.instrumentation.openai import OPENAI
from tollspan.ledger import FileNotes, SQLiteLedger
from tollspan.pricing import PriceBook
from tollspan.processor import Door, Held
from tollspan.usage import ConfigError, PriceBookError, TollspanError, UsageEvent

from ._books import BooksInForce, set_up_books
from ._metering import Chooser, loggers, meters
from ._observing import AfterCalls
from ._prices import load_prices
from ._rules import RuleWatcher, with_rules
from ._settings import Settings
from ._states import LedgerStates
from ._tracing import TracerChooser

_logger = logging.getLogger("tollspan.launch")
SDKS = (OPENAI, ANTHROPIC)
"""Every SDK that the gate knows."""
Hooks = Funnel | McpHooks
"""What stands in one SDK."""


class Telemetry(msgspec.Struct):
    """Where spans, metrics and log events of decisions go.

    Attributes:
        tracing, metering, logging: Choose the tracer, the meter and the logger.
        recorder: Records metrics, and has `after` told of calls.
    """

    tracing: TracerChooser
    metering: Chooser[metrics.Meter]
    logging: Chooser[_logs.Logger]
    recorder: MetricsRecorder


class Installed(msgspec.Struct, kw_only=True):
    """What one process runs with.

    Attributes:
        settings: As read.
        ledger: The books and the authority.
        books: The ledger, and the leases that decide in its place where processes contend for it.
        prices: What calls cost.
        gate: Decides.
        sink: Accounts.
        lifecycle: Takes calls through their life.
        hooks: What stands in each SDK, by package.
        door: Takes in what only other people's spans tell.
        telemetry: Where it is told.
        watcher: Reads the rules anew where they have changed.
        instrumented: The SDKs whose instrumentors were switched on, by package.
        is_kept: A launcher or the program itself installed it: no instrumentor takes it off.
        problem: Why rules, prices, authority or ledger can't be used; None when all is well.
        is_ready: The ledger was opened and the threads run.
    """

    settings: Settings
    ledger: SQLiteLedger
    books: BooksInForce
    prices: PriceBook
    gate: BudgetGate
    sink: CallSink
    lifecycle: Lifecycle
    hooks: dict[str, Hooks]
    door: Door
    telemetry: Telemetry
    watcher: RuleWatcher
    instrumented: set[str] = set()
    is_kept: bool = False
    problem: TollspanError | None = None
    is_ready: bool = False

    @property
    def funnels(self) -> tuple[Funnel, ...]:
        """The hooks in the providers' SDKs."""
        return tuple(each for each in self.hooks.values() if isinstance(each, Funnel))

    def report_to(
        self,
        tracer_provider: TracerProvider | None,
        meter_provider: MeterProvider | None,
        package: str | None = None,
    ) -> None:
        """Send spans (of one SDK, if it is named) and metrics where the program says."""
        if tracer_provider is not None:
            tracer = self.telemetry.tracing.always(tracer_provider)
            if package is None:
                self.lifecycle.spans.tracer = tracer  # of the program's own tools
            for name, hooks in self.hooks.items():
                if package in (None, name):
                    hooks.spans.tracer = tracer
        if meter_provider is not None:
            self.telemetry.metering.always(meter_provider)


def wire(settings: Settings, on_change: Callable[[], None]) -> Installed:
    """Wire the rooms together, and put the hooks into the SDKs.

    Args:
        settings: As read.
        on_change: Called when the program has set up a provider of OpenTelemetry's.
    """
    logging.getLogger("tollspan").setLevel(settings.log_level)
    attribution.set_default(settings.attribution)
    attribution.use_baggage(settings.baggage)
    book, no_prices = _prices(settings)
    watcher = RuleWatcher(settings, lambda rules: use(rules), lambda why: gate.refuse_all(why))  # noqa: PLW0108 - made below
    rules, problem = watcher.first()
    settings = with_rules(settings, rules)
    books = set_up_books(settings, book)
    ledger, gate, sink = books.ledger, books.gate, books.sink

    def use(rules: RuleSet) -> None:
        for hooked in funnels:
            hooked.hosts.extend(rules.hosts)
        # What calls say of themselves comes before the rules that ask for it, and goes after them.
        if rules.goes_by_traces:
            lifecycle.attribution, door.goes_by_traces = attribution.capture_in_trace, True
        read_turns(lifecycle, is_wanted=rules.asks_turns and settings.mode != "off")
        books.use(rules, no_prices)
        if not rules.goes_by_traces:
            lifecycle.attribution, door.goes_by_traces = attribution.capture, False

    def tick() -> None:
        watcher.look()
        books.tick()
        telemetry.recorder.look()

    after = _after(books)
    worker = Worker(tick=tick)
    telemetry = _telemetry(settings, worker, books, after, on_change)
    lifecycle = Lifecycle(
        gate=gate,
        sink=sink,
        note=ledger.note,
        attribution=attribution.capture,
        spans=SpanEmitter(
            tracer=telemetry.tracing,
            recorder=telemetry.recorder,
            is_enabled=settings.makes_spans,
            tells_semconv_cost=settings.tells_semconv_cost,
        ),
        worker=worker,
    )
    _attach(settings, lifecycle, books, telemetry, after, watcher)
    funnels = tuple([Funnel(sdk, lifecycle, ledger.sight) for sdk in SDKS])
    door = _door(settings, lifecycle, sink, ledger, funnels, telemetry, after)
    use(rules)
    if problem is not None:
        gate.refuse_all(problem)
    after.seen.append(door.see)
    return Installed(
        settings=settings,
        ledger=ledger,
        books=books,
        prices=book,
        gate=gate,
        sink=sink,
        lifecycle=lifecycle,
        hooks=_hooks(settings, lifecycle, ledger, funnels),
        door=door,
        telemetry=telemetry,
        watcher=watcher,
        problem=problem or no_prices or books.problem,
    )


def _attach(
    settings: Settings,
    lifecycle: Lifecycle,
    books: BooksInForce,
    telemetry: Telemetry,
    after: AfterCalls,
    watcher: RuleWatcher,
) -> None:
    """Set up what accounts for jobs, what programs ask of their calls, and what servers tell."""
    _hear(books, watcher, lifecycle.worker)
    lifecycle.desk = JobDesk(
        books.sink,
        lifecycle.spans,
        lifecycle.worker,
        telling(telemetry, after),
        FileNotes(settings.ledger_home),
    )
    DECISIONS.attach(lifecycle, lambda: books.gate.rules)


def _after(books: BooksInForce) -> AfterCalls:
    """Set up what is done after calls: warn, and learn what is typical."""
    after = AfterCalls(LISTENERS)
    after.watch(lambda: books.gate.rules, books.standing, books.milestones)
    after.seen.append(books.gate.typical.learn)
    after.note = books.ledger.note
    return after


def _hear(books: BooksInForce, watcher: RuleWatcher, worker: Worker) -> None:
    """Have what the server to which events go says in force at once, here; others look by time."""

    def heed() -> None:
        watcher.look()
        books.heed()

    if books.shipper is not None and books.shipper.heeder is not None:
        books.shipper.heeder.on_change = lambda: worker.do(heed)
        books.heed()


def _tell_warnings(
    after: AfterCalls, recorder: MetricsRecorder, worker: Worker, books: BooksInForce
) -> None:
    """Have warnings counted, and what the dead leave told among them."""

    def tell(reason: UnresolvedReason, found: Sequence[Unresolved]) -> None:
        worker.do(lambda: after.money_warner.left(reason, found))

    after.warned.append(recorder.warn)
    books.watch_unresolved(tell)


def _hooks(
    settings: Settings, lifecycle: Lifecycle, ledger: SQLiteLedger, funnels: tuple[Funnel, ...]
) -> dict[str, Hooks]:
    """Put the hooks into what is imported already, and the rest as it is imported."""
    hooks: dict[str, Hooks] = {funnel.sdk.package: funnel for funnel in funnels}
    hooks[MCP] = McpHooks(lifecycle, ledger.sight)
    for package, each in hooks.items():
        if package in settings.silenced:
            each.spans.is_enabled = False
        each.apply()
    return hooks


def telling(telemetry: Telemetry, after: AfterCalls) -> Callable[[UsageEvent], None]:
    """Return what tells of events that are of no call of ours that has just ended."""

    def tell(event: UsageEvent) -> None:
        telemetry.recorder.count(event)
        after.record(event)

    return tell


def _door(
    settings: Settings,
    lifecycle: Lifecycle,
    sink: CallSink,
    ledger: SQLiteLedger,
    funnels: tuple[Funnel, ...],
    telemetry: Telemetry,
    after: AfterCalls,
) -> Door:
    """Make the door for calls that only other people's spans tell of."""

    def held() -> Held:
        holding = [funnel for funnel in funnels if funnel.holds]
        return Held(
            frozenset(funnel.sdk.package for funnel in holding),
            frozenset(name for funnel in holding for name in funnel.hosts.providers),
        )

    return Door(
        gate=lifecycle.gate,
        sink=sink,
        note=ledger.note,
        attribution=attribution.capture,
        later=lifecycle.worker.do,
        held=held,
        tell=telling(telemetry, after),
        sight=ledger.sight,
        asks=settings.foreign_spans == "gate",
    )


def _telemetry(
    settings: Settings,
    worker: Worker,
    books: BooksInForce,
    after: AfterCalls,
    on_change: Callable[[], None],
) -> Telemetry:
    """Set up where spans, metrics and decisions go."""
    tracing = TracerChooser(
        wants_tracing=settings.wants_tracing and settings.makes_spans, on_change=on_change
    )
    metering = meters(
        is_wanted=settings.wants_metrics and settings.makes_spans, on_change=on_change
    )
    logger = loggers(is_wanted=settings.wants_logs and settings.makes_spans, on_change=on_change)
    recorder = MetricsRecorder(
        metering,
        worker,
        states=LedgerStates(
            books.ledger,
            books.gate,
            dimensions=settings.metric_dimensions,
            standing=None if books.standing is books.ledger else books.standing,
            leases=books.lease_state,
            unsettled=books.unsettled,
            shipper=books.shipper,
        ),
        log=DecisionLog(logger),
        dimensions=settings.metric_dimensions,
        observer=after,
    )
    _tell_warnings(after, recorder, worker, books)
    return Telemetry(tracing, metering, logger, recorder)


def _prices(settings: Settings) -> tuple[PriceBook, TollspanError | None]:
    """Read the prices. Without them nothing is priced, and what has a budget is denied."""
    try:
        return load_prices(settings), None
    except (ConfigError, PriceBookError) as error:
        _logger.error("tollspan has no prices, calls in a budget are denied: %s", error)  # noqa: TRY400
        return PriceBook.empty(), error
