"""Forks and exits of the process, told to every ledger that it has open."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import Protocol


class OpenLedger(Protocol):
    """What a ledger does around a fork, and at the end."""

    def before_fork(self) -> None:
        """Get ready."""
        ...

    def after_fork_in_parent(self) -> None:
        """Go on."""
        ...

    def after_fork_in_child(self) -> None:
        """Start anew."""
        ...

    def close(self) -> None:
        """Put everything away."""
        ...


_ledgers: weakref.WeakSet[OpenLedger] = weakref.WeakSet()
_forking: list[OpenLedger] = []


def tell(ledger: OpenLedger) -> None:
    """Tell a ledger of forks and of the exit, for as long as it lives."""
    _ledgers.add(ledger)


def _before_fork() -> None:
    _forking[:] = list(_ledgers)
    for ledger in _forking:
        ledger.before_fork()


def _after_fork_in_parent() -> None:
    for ledger in _forking:
        ledger.after_fork_in_parent()


def _after_fork_in_child() -> None:
    for ledger in _forking:
        ledger.after_fork_in_child()


def _at_exit() -> None:
    for ledger in list(_ledgers):
        ledger.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
atexit.register(_at_exit)
