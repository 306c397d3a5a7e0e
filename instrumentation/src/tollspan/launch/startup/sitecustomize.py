"""Runs first in every Python that `tollspan run` starts: installs tollspan, then steps aside.

The program's own `sitecustomize`, if it has one, runs after it as if this one were not here.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path

_HERE = str(Path(__file__).parent)
_OTEL_LAUNCHERS = {"opentelemetry-instrument", "opentelemetry.instrumentation.auto_instrumentation"}


def _start() -> None:
    try:
        from tollspan.launch import install
    except ImportError as error:
        sys.stderr.write(
            f"tollspan can't be imported by {sys.executable} ({error}): calls are not gated\n"
        )
        return
    install()


def _stay_first() -> None:
    """Keep our folder in front, for the Pythons that this one starts."""
    rest = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path != _HERE]
    os.environ["PYTHONPATH"] = os.pathsep.join([_HERE, *rest])


def _is_otel_launcher() -> bool:
    return any(Path(argument).name in _OTEL_LAUNCHERS for argument in sys.orig_argv[1:3])


def _outlive_otel_launcher() -> None:
    """Have OpenTelemetry's start-up run after ours.

    `opentelemetry-instrument` puts its own `sitecustomize` in front of every other, and runs none
    of them: a program that it starts would never come to ours.
    """
    execl = os.execl

    def execl_with_us_first(file: str, *arguments: str) -> None:
        _stay_first()
        execl(file, *arguments)

    os.execl = execl_with_us_first  # type: ignore[assignment]  # it never returns either


def _run_the_programs_own() -> None:
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", sys.path)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


if _is_otel_launcher():
    _outlive_otel_launcher()
else:
    _start()
try:
    _run_the_programs_own()
finally:
    _stay_first()
