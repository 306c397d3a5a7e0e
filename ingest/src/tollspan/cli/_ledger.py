"""`tollspan ledger rebuild`: makes the ledger anew."""

from __future__ import annotations

import argparse

from tollspan.launch import ledger_home_in_force
from tollspan.ledger import LEDGER_FILE, SQLiteLedger, rebuild


def rebuild_ledger(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - argparse's signature
    """Make the ledger anew from its events and from what was put aside."""
    path = ledger_home_in_force() / LEDGER_FILE
    done = rebuild(path)
    print(f"rebuilt {path} from {done.events} events")
    if done.unreadable:
        print(f"{done.unreadable} events could not be read")
    if done.old_path is not None:
        print(f"the old file is {done.old_path}")
    ledger = SQLiteLedger(path.parent)
    try:
        print(f"{ledger.take_rescued()} events that were put aside were added")
    finally:
        ledger.close()
    return 1 if done.unreadable else 0
