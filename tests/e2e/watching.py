"""An auditor of a ledger's file: sees every change of every account, and snapshots of the whole.

The changes are seen by a trigger inside the writers' own transactions, so not one instant is
missed; the snapshots by a process of its own, which sees what other readers see.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from tests import harness
from tollspan.ledger import LEDGER_FILE, SQLiteLedger

_TRIGGER = """
CREATE TABLE audit (changes INTEGER NOT NULL, worst_nanousd INTEGER NOT NULL);
INSERT INTO audit VALUES (0, -9000000000000000000);
CREATE TRIGGER audit_changes AFTER UPDATE ON accounts BEGIN
    UPDATE audit SET changes = changes + 1, worst_nanousd = max(worst_nanousd,
        new.posted + new.held + new.unresolved - new.most,
        -new.held - 1);
END;
"""
_SNAPSHOT = (
    "SELECT coalesce(max(posted + held + unresolved - most),"
    " -9000000000000000000), coalesce(min(held), 0) FROM accounts"
)


class Seen(msgspec.Struct, kw_only=True):
    """What the auditor saw.

    Attributes:
        changes: Changes of accounts.
        snapshots: How often the whole was read.
        worst_nanousd: The most by which `posted + held + unresolved` passed a limit, in any
            change or snapshot; never above 0 where the law holds.
    """

    changes: int = 0
    snapshots: int = 0
    worst_nanousd: int = 0


@contextmanager
def watching(home: Path) -> Iterator[Seen]:
    """Watch the ledger of a home; what was seen is there when the block ends."""
    ledger = SQLiteLedger(home)
    ledger.open()
    ledger.close()
    path = home / LEDGER_FILE
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(_TRIGGER)
    seen = Seen()
    with subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.watching", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=harness.ROOT,
    ) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "watching\n"
        try:
            yield seen
        finally:
            output, _ = reader.communicate("", timeout=30)
    snapshots, worst = json.loads(output)
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as connection:
        changes, worst_change = connection.execute("SELECT * FROM audit").fetchone()
    seen.changes, seen.snapshots = changes, snapshots
    seen.worst_nanousd = max(worst, worst_change)


def main() -> None:
    """Read snapshots until the input ends, a thousand a second at most."""
    import threading

    ended = threading.Event()

    def wait_for_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_end, daemon=True).start()
    worst, count = -9_000_000_000_000_000_000, 0
    with contextlib.closing(sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)) as reader:
        print("watching", flush=True)
        while not ended.wait(0.001):
            over, held = reader.execute(_SNAPSHOT).fetchone()
            worst = max(worst, over, -held if held < 0 else worst)
            count += 1
    print(json.dumps([count, worst]), flush=True)


if __name__ == "__main__":
    main()
