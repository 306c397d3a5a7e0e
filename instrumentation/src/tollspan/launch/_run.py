"""`tollspan run`: starts a program with tollspan in front, without a change to it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tollspan.budget import OWN_AUTHORITIES, read_rules
from tollspan.exporter import authority_at, shown
from tollspan.ledger import SQLiteLedger
from tollspan.usage import ConfigError, LedgerUnavailableError

from ._prices import load_prices
from ._rules import refresh_rules, with_rules
from ._settings import read_settings

STARTUP = Path(__file__).parent / "startup"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
_PYTHON = re.compile(r"(python|pypy)[0-9.]*(\.exe)?")
_PROBE = "import sys; sys.exit(0 if 'tollspan.launch' in sys.modules else 1)"
_PROBE_SECONDS = 60


def run_program(command: list[str], *, is_strict: bool = False) -> int:
    """Replace this process with a program that has tollspan in front.

    The program keeps this process's id, its signals and its exit code: it *is* the process.

    Args:
        command: The program and its arguments, `["python", "app.py"]` say.
        is_strict: Refuse to start when calls could not be gated.

    Returns:
        Only when the program can't be started: its exit code, as a shell would say it.

    Raises:
        TollspanError: Strict, and calls could not be gated.
    """
    found = shutil.which(command[0])
    if found is None:
        is_there = os.sep in command[0] and Path(command[0]).exists()
        return _refused(command[0], "permission denied" if is_there else "command not found")
    environment = _with_startup(os.environ)
    python = _python_of(found, command)
    wrong: list[ConfigError] = []
    if is_strict or read_settings(on_wrong=wrong.append).is_strict:
        check_or_raise()
        if python is not None:
            _probe_or_raise(python, environment)
    elif python is not None and (flag := _flag_without_startup(python)):
        sys.stderr.write(
            f"tollspan run: a Python with {flag} runs no start-up hook, so nothing is gated; "
            "take the flag out, or call tollspan.api.install() in the program\n"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execve(found, command, environment)  # noqa: S606 - running it is the point
    except OSError as error:
        return _refused(command[0], error.strerror or str(error))


def check_or_raise() -> None:
    """See whether calls could be gated.

    Raises:
        TollspanError: They could not; the text says why.
    """
    settings = read_settings()
    if settings.document is None:
        raise ConfigError(
            "no rules: there is no tollspan.yaml here or in TOLLSPAN_HOME, and TOLLSPAN_CONFIG "
            "is not set"
        )
    known = refresh_rules(settings)
    if known is not None and known.has_none:
        raise ConfigError(
            "no rules: there is no tollspan.yaml here or in TOLLSPAN_HOME, and the ingest server "
            f"{shown(settings.endpoint or '')} has none for this key"
        )
    settings = with_rules(settings, read_rules(settings.document))
    load_prices(settings)
    if settings.authority not in OWN_AUTHORITIES:
        shared = authority_at(settings.authority, settings.lease, key=settings.api_key)
        with contextlib.closing(shared) as authority:
            if authority.epoch() is None:
                raise LedgerUnavailableError(
                    "the authority is not open: run `tollspan authority open`"
                )
    ledger = SQLiteLedger(settings.ledger_home)
    try:
        ledger.open()
    finally:
        ledger.close()


def _with_startup(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment whose Pythons run our start-up first."""
    before = environ.get("PYTHONPATH")
    rest = [path for path in before.split(os.pathsep) if path != str(STARTUP)] if before else []
    return {**environ, "PYTHONPATH": os.pathsep.join([str(STARTUP), *rest])}


def _refused(program: str, why: str) -> int:
    sys.stderr.write(f"tollspan run: {program}: {why}\n")
    return _NOT_FOUND if why == "command not found" else _NOT_EXECUTABLE


def _python_of(found: str, command: list[str]) -> list[str] | None:
    """Return the Python that a command runs in, with its flags; None when that can't be told."""
    if _PYTHON.fullmatch(Path(found).name):
        return [found, *_flags(command[1:])]
    try:
        with Path(found).open("rb") as file:
            line = file.readline(1024).decode(errors="replace")
    except OSError:
        return None
    words = line[2:].split() if line.startswith("#!") else []
    if words and Path(words[0]).name == "env":
        words = words[2:] if words[1:2] == ["-S"] else words[1:]
    if words and _PYTHON.fullmatch(Path(words[0]).name):
        interpreter = shutil.which(words[0])
        return [interpreter, *_flags(words[1:])] if interpreter is not None else None
    return None


def _flags(arguments: list[str]) -> list[str]:
    """Return the flags of Python itself, before the script, `-c` or `-m`."""
    flags: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        if not argument.startswith("-") or argument in ("-", "--"):
            break
        if not argument.startswith("--"):
            letter = next((one for one in argument[1:] if one in "cmWX"), "")
            if letter in ("c", "m") and letter:
                kept = argument[: argument.index(letter)]
                flags += [kept] if kept != "-" else []
                break
            if letter and argument.endswith(letter):
                flags += [argument, next(waiting, "")]
                continue
        flags.append(argument)
    return flags


def _flag_without_startup(python: list[str]) -> str | None:
    """Return the flag that makes a Python ignore the start-up hook."""
    for flag in python[1:]:
        if re.fullmatch(r"-[a-zA-Z]*[ISE][a-zA-Z]*", flag) and not re.match(r"-[WX]", flag):
            return flag
    return None


def _probe_or_raise(python: list[str], environment: Mapping[str, str]) -> None:
    """Start the Python that the program will run in, and see that our start-up runs in it.

    Raises:
        ConfigError: It does not.
    """
    done = subprocess.run(
        [*python, "-c", _PROBE],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PROBE_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return
    why = done.stderr.strip().splitlines()[-1:] or [
        f"its flag {_flag_without_startup(python) or ''} turns start-up hooks off"
    ]
    raise ConfigError(f"{shlex.join(python)} would run without tollspan: {why[0]}")
