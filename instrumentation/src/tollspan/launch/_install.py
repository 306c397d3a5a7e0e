"""Every way in ends here: one idempotent `install`, and how it ends again."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
from collections.abc import Callable

import wrapt
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from tollspan import attribution
from tollspan.exporter import Books
from tollspan.instrumentation import LISTENERS
from tollspan.instrumentation.tools import use_lifecycle
from tollspan.processor import Door
from tollspan.safety import Guard
from tollspan.usage import ConfigError, LedgerError, NotInstalledError

from ._children import ChildEnds
from ._exporters import shut_down
from ._foreign import watch_providers
from ._settings import Settings, read_settings
from ._wiring import SDKS, Installed, wire

__all__ = [
    "SDKS",
    "Installed",
    "books_in_force",
    "door_in_force",
    "install",
    "install_or_raise",
    "installed_or_raise",
    "instrument",
    "uninstall",
    "uninstrument",
]
_logger = logging.getLogger("tollspan.launch")
_LAST_DRAIN_SECONDS = 5.0
_lock = threading.Lock()
_installed: Installed | None = None
_child_ends: ChildEnds | None = None


def install(
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Gate, trace, price and keep every call that this process makes from here on.

    Call it before or after the provider's SDK is imported, once or often. Settings come from the
    environment; a wrong one is logged, and its default taken. It never raises.

    Args:
        tracer_provider: Where spans go from now on, whatever the global provider is; None for the
            one that was handed over before, else the global one, whenever it is set.
        meter_provider: The same for metrics.
    """
    with Guard("launch.install"):
        installed = _install(lambda: read_settings(on_wrong=_log_wrong))
        installed.is_kept = True
        installed.report_to(tracer_provider, meter_provider)


def install_or_raise(settings: Settings | None = None) -> Installed:
    """Do as `install` does, but return what there is now, and raise what is wrong.

    Args:
        settings: None to read them from the environment.

    Raises:
        ConfigError: A setting is wrong. Rules, prices or a ledger that can't be used are no such
            thing: they are in `problem`.
    """
    installed = _install(lambda: settings or read_settings())
    installed.is_kept = True
    return installed


def instrument(
    package: str,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> None:
    """Install for the sake of one SDK, whose spans are made from now on, whatever silenced them.

    Args:
        package: The SDK, `openai` say.
        tracer_provider: Where its spans go; None as in `install`.
        meter_provider: Where metrics go, those of every SDK; None as in `install`.
    """
    with Guard("launch.install"):
        installed = _install(lambda: read_settings(on_wrong=_log_wrong))
        installed.instrumented.add(package)
        installed.report_to(tracer_provider, meter_provider, package)
        hooks = installed.hooks[package]
        hooks.spans.is_enabled = installed.settings.makes_spans
        hooks.apply()


def uninstrument(package: str) -> None:
    """Undo `instrument`: with the last one everything is taken off.

    Where a launcher or `install` put the gate there, it stays, and only the spans end.
    """
    installed = _installed
    if installed is None:
        return
    installed.instrumented.discard(package)
    if installed.is_kept:
        installed.hooks[package].spans.is_enabled = False
    elif installed.instrumented:
        installed.hooks[package].remove()
    else:
        uninstall()


def _install(settings: Callable[[], Settings]) -> Installed:
    global _child_ends, _installed  # noqa: PLW0603 - one installation a process
    with _lock:
        if _child_ends is None:
            _child_ends = ChildEnds(_at_exit)
        if _installed is None:
            _installed = wire(settings(), _end_first)
            _end_first()
            for package in _installed.hooks:
                if package in sys.modules:  # `doctor` says what that means
                    _installed.ledger.sight("imported_before_install", package)
                wrapt.register_post_import_hook(_get_ready, package)
            use_lifecycle(_installed.lifecycle, _get_ready)
            if _installed.settings.foreign_spans != "off":
                watch_providers(door_in_force)
        return _installed


def uninstall() -> None:
    """Take every wrapper off again and put the books away. What was metered stays metered."""
    global _installed
    with _lock:
        installed, _installed = _installed, None
        if installed is not None:
            use_lifecycle(None)
            for hooks in installed.hooks.values():
                hooks.remove()
            _put_away(installed)
            attribution.use_baggage(None)
            installed.telemetry.recorder.close()
            atexit.unregister(_at_exit)


def door_in_force() -> Door | None:
    """Return the door for other people's spans; None where it is off, or nothing is installed."""
    installed = _installed
    if installed is None or installed.settings.foreign_spans == "off":
        return None
    return installed.door


def installed_or_raise(what: str) -> Installed:
    """Return what this process runs with.

    Args:
        what: What is asked for, `budget()` say, for the error.

    Raises:
        NotInstalledError: Nothing is installed in it.
    """
    installed = _installed
    if installed is None:
        raise NotInstalledError(
            f"{what}: tollspan is not installed in this process, so no call is gated: start it by "
            "`tollspan run`, or call tollspan.api.install() first"
        )
    return installed


def books_in_force() -> Books | None:
    """Return what an exporter of spans needs; None where nothing is installed."""
    installed = _installed
    if installed is None:
        return None
    return Books(installed.gate, installed.sink, installed.door.knows, attribution.capture)


def _get_ready(_: object = None) -> None:
    """Open the books and start the threads: when a provider's SDK is there, and calls may come.

    A process that never imports one, and calls no tool, has no thread of ours and opens no file.
    """
    installed = _installed
    if installed is None or installed.is_ready:
        return
    installed.is_ready = True
    with Guard("launch.ready"):
        installed.lifecycle.worker.start()
        installed.books.prepare()
        installed.telemetry.tracing.prepare()
        installed.telemetry.recorder.look()
        installed.telemetry.logging()
        try:
            installed.ledger.open()
        except LedgerError as error:
            _logger.error("tollspan's ledger can't be used: %s", error)  # noqa: TRY400 - no bug
            installed.problem = installed.problem or error


def _log_wrong(error: ConfigError) -> None:
    _logger.error("tollspan leaves a wrong setting out: %s", error)


def _put_away(installed: Installed) -> None:
    """Account for open streams, record what is queued, close the ledger, export the last spans."""
    installed.watcher.close()
    installed.lifecycle.finish_open_streams()
    installed.lifecycle.worker.drain(_LAST_DRAIN_SECONDS)
    LISTENERS.worker.drain(_LAST_DRAIN_SECONDS)
    installed.books.close(_LAST_DRAIN_SECONDS)
    telemetry = installed.telemetry
    shut_down(
        telemetry.tracing.give_up(), telemetry.metering.give_up(), telemetry.logging.give_up()
    )


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
        installed.books.after_fork_in_child()
        installed.watcher.after_fork_in_child()
        installed.lifecycle.worker.forget()
        installed.lifecycle.forget_streams()
        installed.gate.forget()
        installed.telemetry.metering.forget()
        installed.door.forget()
        for funnel in installed.funnels:
            funnel.wake_before_next(lambda: _wake(installed))


def _wake(installed: Installed) -> None:
    """Do at a forked child's first call what the parent's thread had done until the fork."""
    installed.watcher.wake()
    installed.lifecycle.worker.do(installed.telemetry.recorder.look)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
