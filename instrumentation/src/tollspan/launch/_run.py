"""`tollspan run`: starts a program with tollspan in front, without a change to it."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tollspan.usage import ConfigError, TollspanError

from ._settings import read_settings

STARTUP = Path(__file__).parent / "startup"


def run_program(command: list[str], *, is_strict: bool = False) -> int:
    """Replace this process with a program that has tollspan in front.

    The program keeps this process's id, its signals and its exit code: it *is* the process.

    Args:
        command: The program and its arguments, `["python", "app.py"]` say.
        is_strict: Refuse to start when calls could not be gated.

    Returns:
        Only when the program can't be started: its exit code, as a shell would say it.

    Raises:
        TollspanError: Strict, and the rules, the price book or the ledger can't be used.
    """
    settings = read_settings()
    if is_strict or settings.is_strict:
        check_or_raise()
    found = shutil.which(command[0])
    if found is None:
        sys.stderr.write(f"tollspan run: {command[0]}: command not found\n")
        return 127
    environment = dict(os.environ)
    paths = environment.get("PYTHONPATH", "").split(os.pathsep)
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(STARTUP), *[path for path in paths if path and path != str(STARTUP)]]
    )
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(found, command, environment)  # noqa: S606 - running it is the point
    except OSError as error:
        sys.stderr.write(f"tollspan run: {command[0]}: {error.strerror}\n")
        return 126


def check_or_raise() -> None:
    """See whether calls could be gated.

    Raises:
        TollspanError: They could not; the text says why.
    """
    from tollspan.budget import read_rules  # noqa: PLC0415 - only when asked for
    from tollspan.ledger import SQLiteLedger  # noqa: PLC0415
    from tollspan.pricing import PriceBook  # noqa: PLC0415

    settings = read_settings()
    if settings.document is None:
        raise ConfigError(
            "no rules: there is no tollspan.yaml here or in TOLLSPAN_HOME, and TOLLSPAN_CONFIG "
            "is not set"
        )
    read_rules(settings.document)
    PriceBook.load(settings.prices)
    ledger = SQLiteLedger(settings.home)
    try:
        ledger.open()
    finally:
        ledger.close()


__all__ = ["TollspanError", "check_or_raise", "run_program"]
