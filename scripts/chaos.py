"""Ten minutes in which everything breaks, over and over: `python scripts/chaos.py --help`.

Two hosts, two ingest servers, a Collector, Redis and PostgreSQL run on loopback; workers make calls
of the real SDK to fake providers that keep their own bills. A seed decides what is killed, filled
or moved, and when. Then all is counted: exit code 0 says that nothing was lost, nothing counted
twice, and no budget overspent.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from multiprocessing import util
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import go_programs  # noqa: E402 - after the path
import services  # noqa: E402
from tests.chaos.living import Life, live  # noqa: E402


def main(words: Sequence[str]) -> int:
    """Run it; return 0 when all holds."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=None, help="what goes wrong (default: drawn)")
    asked = parser.parse_args(words)
    services.ensure()
    go_programs.ensure(go_programs.collector())
    seed = int.from_bytes(os.urandom(2)) if asked.seed is None else asked.seed
    print(f"{asked.minutes:g} minutes of chaos, seed {seed}", flush=True)
    folder = _folder()
    print(f"What the programs say is in {folder}/stderr.txt", flush=True)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:7.1f} s  {what}", flush=True)

    with _others_heard_in(folder / "stderr.txt"):
        life = live(folder, seed=seed, seconds=asked.minutes * 60, say=say)
    report(life)
    if life.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"The same again: --minutes {asked.minutes:g} --seed {seed}")
    return int(not life.holds)


def _folder() -> Path:
    """Make a folder that other users may read, and have all temporary files be in it."""
    util.get_temp_dir()  # which outlives the folder
    folder = Path(tempfile.mkdtemp(prefix="tollspan-chaos-"))
    folder.chmod(0o755)
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    return folder


@contextlib.contextmanager
def _others_heard_in(path: Path) -> Generator[None]:
    """Have what the programs say that are started here in a file; our own errors are shown."""
    with path.open("wb") as file, os.fdopen(os.dup(2), "w") as shown:
        sys.stderr = shown
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(shown.fileno(), 2)
            sys.stderr = sys.__stderr__


def report(life: Life) -> None:
    """Print what went wrong, and what holds all the same."""
    print("\nFaults")
    for kind in dict.fromkeys(one.kind for one in life.faults):
        print(f"  {sum(one.kind is kind for one in life.faults):>4}  {kind}")
    for kind in life.without:
        print(f"        {kind}: left out, it can't be had here (root, Linux, a C compiler)")
    print(
        f"\n{life.calls:,} calls made, {life.refused:,} refused by a budget, {life.unavailable:,}"
        f" refused as no budget could be asked; {life.spans:,} spans through the Collector;"
        f" up to {life.put_aside} files of events put aside at once\n"
    )
    for finding in life.findings:
        print(f"  {'holds ' if finding.holds else 'BROKEN'}  {finding.claim}")
        print(f"          {finding.figures}")
    print("\nAll holds." if life.holds else "\nNOT all holds.")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
