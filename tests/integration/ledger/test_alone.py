"""What one process of a host does at a time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tollspan.ledger import alone


def test_one_at_a_time_does_it(tmp_path: Path) -> None:
    with alone(tmp_path, "it") as first, alone(tmp_path, "it") as second:
        assert (first, second) == (True, False)
    with alone(tmp_path, "it") as third:
        assert third


def test_a_child_that_was_forked_meanwhile_keeps_nobody_from_it(tmp_path: Path) -> None:
    with alone(tmp_path, "it") as is_alone:
        assert is_alone
        child = os.fork()
        if child == 0:
            signal.pause()
            os._exit(0)
    try:
        with alone(tmp_path, "it") as again:
            assert again
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
