"""Wires the rooms together: one idempotent function behind every way to start."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Callable

import msgspec
import wrapt

from tollspan import attribution
from tollspan.budget import BudgetGate, Closer, RuleSet, Warner
from tollspan.instrumentation import (
    LISTENERS,
    Funnel,
    Lifecycle,
    MetricsRecorder,
    SpanEmitter,
    Worker,
)
from tollspan.instrumentation.anthropic import ANTHROPIC
from tollspan.instrumentation.openai import OPENAI
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook
from tollspan.safety import Guard
from tollspan.usage import ConfigError, LedgerError, PriceBookError, TollspanError

from ._observing import AfterCalls
from ._prices import load_prices
from ._rules import RuleWatcher
from ._settings import Settings, read_settings
from ._tracing import TracerChooser, meter

_logger = logging.getLogger("tollspan.launch")
_LAST_DRAIN_SECONDS = 5.0
SDKS = (OPENAI, ANTHROPIC)
"""Every SDK that the gate knows."""
_lock = threading.Lock()


class Installed(msgspec.Struct, kw_only=True):
    """What one process runs with.

    Attributes:
        settings: As read.
        ledger: The books and the authority.
        gate: Decides.
        lifecycle: Takes calls through their life.
        funnels: The hooks in the providers' SDKs.
        tracing: Chooses the tracer.
        problem: Why the rules, the prices or the ledger can't be used; None when all is well.
        is_ready: The ledger was opened and the threads run.
    """

    settings: Settings
    ledger: SQLiteLedger
    gate: BudgetGate
    lifecycle: Lifecycle
    funnels: tuple[Funnel, ...]
    tracing: TracerChooser
    problem: TollspanError | None = None
    is_ready: bool = False


_installed: Installed | None = None


def install() -> None:
    """Gate, trace, price and keep every call that this process makes from here on.

    Call it before or after the provider's SDK is imported, once or often. Settings come from the
    environment; a wrong one is logged, and its default taken. It never raises.
    """
    with Guard("launch.install"):
        _install(lambda: read_settings(on_wrong=_log_wrong))


def install_or_raise(settings: Settings | None = None) -> Installed:
    """Do as `install` does, but return what there is now, and raise what is wrong.

    Args:
        settings: None to read them from the environment.

    Raises:
        ConfigError: A setting is wrong. Rules, prices or a ledger that can't be used are no such
            thing: they are in `problem`.
    """
    return _install(lambda: settings or read_settings())


def _install(settings: Callable[[], Settings]) -> Installed:
    global _installed  # noqa: PLW0603 - one installation a process
    with _lock:
        if _installed is None:
            _installed = _wire(settings())
            _end_first()
            for sdk in SDKS:
                wrapt.register_post_import_hook(_get_ready, sdk.package)
        return _installed


def uninstall() -> None:
    """Take every wrapper off again and put the books away. What was metered stays metered."""
    global _installed
    with _lock:
        installed, _installed = _installed, None
        if installed is not None:
            for funnel in installed.funnels:
                funnel.remove()
            _put_away(installed)
            atexit.unregister(_at_exit)


def _wire(settings: Settings) -> Installed:
    logging.getLogger("tollspan").setLevel(settings.log_level)
    attribution.set_default(settings.attribution)
    book, no_prices = _prices(settings)
    ledger = SQLiteLedger(
        settings.home,
        wait_seconds=settings.acquire_timeout_seconds,
        is_durable=settings.is_durable,
    )
    gate = BudgetGate(
        RuleSet(),
        book,
        ledger,
        acquire_timeout_seconds=settings.acquire_timeout_seconds,
        mode=settings.mode,
    )

    def use(rules: RuleSet) -> None:
        for funnel in funnels:
            funnel.hosts.extend(rules.hosts)
        gate.use(rules, no_prices=no_prices if rules.on_unavailable == "deny" else None)

    after = AfterCalls(LISTENERS)
    after.warner = Warner(lambda: gate.rules, ledger, ledger, after.warn)
    watcher = RuleWatcher(settings.document, use)
    worker = Worker(tick=watcher.look)
    chooser = TracerChooser(
        wants_tracing=settings.wants_tracing and settings.makes_spans, on_change=_end_first
    )
    lifecycle = Lifecycle(
        gate=gate,
        sink=Closer(book, ledger),
        note=ledger.note,
        attribution=attribution.capture,
        spans=SpanEmitter(
            tracer=chooser,
            recorder=MetricsRecorder(meter(), worker, after),
            is_enabled=settings.makes_spans,
        ),
        worker=worker,
    )
    funnels = tuple([Funnel(sdk, lifecycle, ledger.sight) for sdk in SDKS])
    rules, problem = watcher.first()
    use(rules)
    if problem is not None:
        gate.refuse_all(problem)
    if settings.mode != "enforce":
        _logger.warning("tollspan's budgets stop nothing: TOLLSPAN_MODE is %s", settings.mode)
        ledger.sight("mode", settings.mode)
    for funnel in funnels:
        funnel.apply()
    return Installed(
        settings=settings,
        ledger=ledger,
        gate=gate,
        lifecycle=lifecycle,
        funnels=funnels,
        tracing=chooser,
        problem=problem or no_prices,
    )


def _prices(settings: Settings) -> tuple[PriceBook, TollspanError | None]:
    """Read the prices. Without them nothing is priced, and what has a budget is denied."""
    try:
        return load_prices(settings), None
    except (ConfigError, PriceBookError) as error:
        _logger.error("tollspan has no prices, calls in a budget are denied: %s", error)  # noqa: TRY400
        return PriceBook.empty(), error


def _get_ready(_: object = None) -> None:
    """Open the books and start the threads: when a provider's SDK is there, and calls may come.

    A process that never imports one has no thread of ours, and opens no file.
    """
    installed = _installed
    if installed is None or installed.is_ready:
        return
    installed.is_ready = True
    with Guard("launch.ready"):
        installed.lifecycle.worker.start()
        installed.tracing.prepare()
        try:
            installed.ledger.open()
        except LedgerError as error:
            _logger.error("tollspan's ledger can't be used: %s", error)  # noqa: TRY400 - no bug
            installed.problem = installed.problem or error


def _log_wrong(error: ConfigError) -> None:
    _logger.error("tollspan leaves a wrong setting out: %s", error)


def _put_away(installed: Installed) -> None:
    """Account for open streams, record what is queued, close the ledger, export the last spans."""
    installed.lifecycle.finish_open_streams()
    installed.lifecycle.worker.drain(_LAST_DRAIN_SECONDS)
    LISTENERS.worker.drain(_LAST_DRAIN_SECONDS)
    installed.ledger.close()
    installed.tracing.close()


def _end_first() -> None:
    """Have our end come before that of providers that the program has set up until now.

    What runs at the interpreter's exit runs last in, first out: open streams end their spans, and
    the last metrics are recorded, while the program's exporters still take them.
    """
    atexit.unregister(_at_exit)
    atexit.register(_at_exit)


def _at_exit() -> None:
    installed = _installed
    if installed is not None:
        with Guard("launch.exit"):
            _put_away(installed)


def _after_fork_in_child() -> None:
    LISTENERS.forget()
    installed = _installed
    if installed is not None:
        installed.lifecycle.worker.forget()
        installed.lifecycle.forget_streams()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
