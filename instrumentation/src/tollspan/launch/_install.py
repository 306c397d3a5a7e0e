"""Wires the rooms together: one idempotent function behind every way to start."""

from __future__ import annotations

import atexit
import logging
import os
import threading
from pathlib import Path

import msgspec

from tollspan import attribution
from tollspan.budget import BudgetGate, Closer, RuleSet, read_rules
from tollspan.instrumentation import HostTable, Lifecycle, MetricsRecorder, SpanEmitter, Worker
from tollspan.instrumentation.openai import OpenAIPatches
from tollspan.ledger import SQLiteLedger
from tollspan.pricing import PriceBook
from tollspan.safety import Guard
from tollspan.usage import ConfigError, LedgerError, TollspanError

from ._settings import Settings, read_settings
from ._tracing import TracerChooser, meter

_logger = logging.getLogger("tollspan.launch")
_LAST_DRAIN_SECONDS = 5.0
_lock = threading.Lock()


class Installed(msgspec.Struct, kw_only=True):
    """What one process runs with.

    Attributes:
        settings: As read.
        ledger: The books and the authority.
        gate: Decides.
        lifecycle: Takes calls through their life.
        openai: The wrappers of the OpenAI SDK.
        problem: Why the rules can't be used; None when all is well.
    """

    settings: Settings
    ledger: SQLiteLedger
    gate: BudgetGate
    lifecycle: Lifecycle
    openai: OpenAIPatches
    problem: TollspanError | None = None


_installed: Installed | None = None


def install() -> None:
    """Gate, trace, price and keep every call that this process makes from here on.

    Call it before or after the provider's SDK is imported, once or often. Settings come from the
    environment. It never raises: what is wrong is logged, and the program goes on.
    """
    with Guard("launch.install"):
        install_or_raise()


def install_or_raise(settings: Settings | None = None) -> Installed:
    """Do as `install` does, but say what is wrong.

    Raises:
        TollspanError: Something could not be set up at all: a setting is wrong, the price book
            can't be read. Rules that can't be read are no such thing: they are in `problem`.
    """
    global _installed  # noqa: PLW0603 - one installation a process
    with _lock:
        if _installed is None:
            _installed = _wire(settings or read_settings())
        return _installed


def uninstall() -> None:
    """Take every wrapper off again and put the books away. What was metered stays metered."""
    global _installed
    with _lock:
        installed, _installed = _installed, None
        if installed is not None:
            installed.openai.remove()
            _put_away(installed)


def _wire(settings: Settings) -> Installed:
    logging.getLogger("tollspan").setLevel(settings.log_level)
    attribution.set_default(settings.attribution)
    rules, problem = _first_rules(settings.document)
    book = PriceBook.load(settings.prices)
    ledger = SQLiteLedger(
        settings.home,
        wait_seconds=settings.acquire_timeout_seconds,
        is_durable=settings.is_durable,
    )
    gate = BudgetGate(rules, book, ledger)
    if problem is not None:
        gate.refuse_all(problem)
    watcher = _RuleWatcher(settings.document, gate)
    worker = Worker(tick=watcher.look)
    chooser = TracerChooser(wants_tracing=settings.wants_tracing and settings.makes_spans)
    patches: list[OpenAIPatches] = []
    lifecycle = Lifecycle(
        gate=gate,
        sink=Closer(book, ledger),
        note=ledger.note,
        attribution=attribution.capture,
        spans=SpanEmitter(
            tracer=chooser,
            recorder=MetricsRecorder(meter(), worker),
            has_foreign_span=lambda: patches[0].has_foreign_span(),  # noqa: PLW0108 - made below
            is_enabled=settings.makes_spans,
        ),
        worker=worker,
    )
    openai = OpenAIPatches(lifecycle, ledger.sight)
    patches.append(openai)
    openai.hosts.extend(rules.hosts)
    watcher.hosts = openai.hosts
    installed = Installed(
        settings=settings,
        ledger=ledger,
        gate=gate,
        lifecycle=lifecycle,
        openai=openai,
        problem=problem,
    )
    openai.apply()
    worker.start()
    chooser.prepare()
    try:
        ledger.open()
    except LedgerError as error:
        installed.problem = installed.problem or error
    atexit.register(_at_exit)
    return installed


def _first_rules(document: Path | None) -> tuple[RuleSet, ConfigError | None]:
    """Read the rules at the start; a document that can't be read denies, since it may deny."""
    if document is None:
        return RuleSet(), None
    try:
        return read_rules(document), None
    except ConfigError as error:
        _logger.error("tollspan's rules can't be used, calls are denied: %s", error)  # noqa: TRY400
        return RuleSet(source=str(document)), error


class _RuleWatcher:
    """Puts a changed document in force; one that is wrong leaves the last good one there."""

    def __init__(self, document: Path | None, gate: BudgetGate) -> None:
        self._document = document
        self._gate = gate
        self.hosts: HostTable | None = None
        self._seen = self._stamp()

    def look(self) -> None:
        """Look once; called about once a second in the worker."""
        stamp = self._stamp()
        if stamp == self._seen or self._document is None or stamp is None:
            return
        self._seen = stamp
        try:
            rules = read_rules(self._document)
        except ConfigError as error:
            _logger.error("tollspan keeps its last good rules: %s", error)  # noqa: TRY400
            return
        if self.hosts is not None:
            self.hosts.extend(rules.hosts)
        self._gate.use(rules)
        _logger.info("tollspan's rules were read anew from %s", self._document)

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._document is None:
            return None
        try:
            found = self._document.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _put_away(installed: Installed) -> None:
    """Account for open streams, record what is queued, close the ledger."""
    installed.lifecycle.finish_open_streams()
    installed.lifecycle.worker.drain(_LAST_DRAIN_SECONDS)
    installed.ledger.close()


def _at_exit() -> None:
    installed = _installed
    if installed is not None:
        with Guard("launch.exit"):
            _put_away(installed)


def _after_fork_in_child() -> None:
    installed = _installed
    if installed is not None:
        installed.lifecycle.worker.forget()
        installed.lifecycle.forget_streams()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
