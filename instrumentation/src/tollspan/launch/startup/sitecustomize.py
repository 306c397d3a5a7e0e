"""Runs first in every Python that `tollspan run` starts: installs tollspan, then steps aside.

The program's own `sitecustomize`, if it has one, runs after it as if this one were not here.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _start() -> None:
    try:
        from tollspan.launch import install
    except ImportError as error:
        sys.stderr.write(f"tollspan is not importable in this Python ({error}); not started\n")
        return
    install()


def _run_the_programs_own() -> None:
    here = str(Path(__file__).parent)
    rest = [path for path in sys.path if str(Path(path or ".").absolute()) != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", rest)
    if spec is None or spec.loader is None:
        return
    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_start()
_run_the_programs_own()
