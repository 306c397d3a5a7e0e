"""Whether `opentelemetry-instrument` would bring tollspan into a program: found out by a try."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ._run import STARTUP

_LAUNCHER = "opentelemetry.instrumentation.auto_instrumentation"
_TRY_SECONDS = 60
# Leaves without any exporter's last words: there is nothing to be told to a backend.
_PROBE = """
import os, sys
launch = sys.modules.get("tollspan.launch._install")
sys.stderr.flush()
os._exit(0 if launch is not None and launch._installed is not None else 1)
"""


def auto_launch_problem() -> str | None:
    """Say why `opentelemetry-instrument` alone would start programs without tollspan.

    Its start-up gives up as a whole when an exporter that is named isn't installed, when
    `OTEL_CONFIG_FILE` has a mistake, when another instrumentor's hook raises: it logs that and lets
    the program run, with no gate of ours. `tollspan run` in front of it does not depend on it.

    Starts a Python under it, with this process's environment; takes a second or more.

    Returns:
        The error that ends its start-up, in one line; None where tollspan would be installed.
    """
    spec = find_spec(_LAUNCHER)
    if spec is None or spec.origin is None:
        return f"{_LAUNCHER} is not installed"
    ours = (str(STARTUP), "")
    paths = [
        path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in ours
    ]
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(Path(spec.origin).parent), *paths]),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TRY_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"its start-up had not ended after {_TRY_SECONDS} seconds"
    if done.returncode == 0:
        return None
    lines = [line for line in done.stderr.splitlines() if line and not line[0].isspace()]
    return lines[-1] if lines else f"it ended with exit code {done.returncode}"
