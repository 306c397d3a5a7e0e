"""Set up `.venv`: nothing to do, and no network, when nothing has changed.

Run as `python3 scripts/environment.py demo|dev`; `dev` holds all that `demo` does. Only the
standard library is used here: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
# What is installed for each purpose. A purpose covers those before it.
PURPOSES: dict[str, tuple[str, ...]] = {
    "demo": ("--editable", ".[all]"),
    "dev": ("--editable", ".[all]", "--group", "dev"),
}
STEP_TIMEOUT_SECONDS = 900
NO_VENV = """\
This Python can't make a virtual environment: its venv or ensurepip module is missing.
  Debian, Ubuntu:  apt-get install python3-venv
  elsewhere:       install uv or virtualenv, then run this again."""


def clean_environ() -> dict[str, str]:
    """Return the environment for child processes, without what would make `.venv` leak.

    Nor with what keeps Python from writing down what it compiled: tests start hundreds of programs,
    and an ingest server that compiles all that it imports takes 4.3 s of CPU to start, not 1.4.
    """
    leaking = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "CONDA_PREFIX"}
    hidden = {*leaking, "PYTHONDONTWRITEBYTECODE"}
    return {key: value for key, value in os.environ.items() if key not in hidden}


def ensure(purpose: str) -> bool:
    """Make `.venv` ready for a purpose.

    Waits while another process sets up the same folder. Creates or updates `.venv`, and uses the
    network if anything has to be installed.

    Returns:
        Whether anything was installed.

    Raises:
        SystemExit: It can't be made ready; the text says what to do.
    """
    with _lock():
        wanted = list(PURPOSES)
        for covering in wanted[wanted.index(purpose) :]:
            if _stamp(covering).is_file() and _stamp(covering).read_text() == _key(covering):
                return False
        print(f"Setting up .venv for {purpose} (once; later runs skip this) ...", flush=True)
        if not _works():
            _create()
        _install(PURPOSES[purpose])
        _stamp(purpose).write_text(_key(purpose))
        return True


@contextmanager
def _lock() -> Generator[None]:
    cache = ROOT / ".cache"
    cache.mkdir(exist_ok=True)
    with (cache / "environment.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _stamp(purpose: str) -> Path:
    return VENV / f"tollspan-{purpose}.stamp"


def _key(purpose: str) -> str:
    """Hash all that makes an environment out of date: dependencies, place, interpreter."""
    parts = (
        (ROOT / "pyproject.toml").read_bytes(),
        repr((PURPOSES[purpose], str(ROOT), sys.version, sys.base_prefix)).encode(),
    )
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _works() -> bool:
    """Tell whether `.venv` has a Python that starts and is the version of this one."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    command: list[str | Path] = [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return False
    return answer.returncode == 0 and answer.stdout.strip() == version


def _create() -> None:
    """Make an empty `.venv` by the first way that this machine offers."""
    here = sys.executable
    ways: list[list[list[str | Path]]] = []
    if uv := shutil.which("uv"):
        ways.append([[uv, "venv", "--quiet", "--seed", "--python", here, VENV]])
    if importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip"):
        ways.append([[here, "-m", "venv", VENV]])
    if virtualenv := shutil.which("virtualenv"):
        ways.append([[virtualenv, "--quiet", "--python", here, VENV]])
    if importlib.util.find_spec("venv") and importlib.util.find_spec("pip"):
        # Debian's python3-pip without python3-venv: this pip fills the other's folder.
        bare: list[str | Path] = [here, "-m", "venv", "--without-pip", VENV]
        fill: list[str | Path] = [here, "-m", "pip", "--python", PYTHON, "install", "-q", "pip"]
        ways.append([bare, fill])
    for way in ways:
        shutil.rmtree(VENV, ignore_errors=True)
        if all(_run(command) for command in way) and _works():
            return
    shutil.rmtree(VENV, ignore_errors=True)
    raise SystemExit(NO_VENV)


def _install(what: Sequence[str]) -> None:
    """Install with uv, which takes seconds, else with pip, which takes a minute."""
    if (uv := _uv()) and _run([uv, "pip", "install", "--quiet", "--python", PYTHON, *what]):
        return
    print("  without uv: this takes a minute or two", flush=True)
    # Dependency groups need pip 25.1.
    if _run([PYTHON, "-m", "pip", "install", "--quiet", "--upgrade", "pip >= 25.1"]) and _run(
        [PYTHON, "-m", "pip", "install", "--quiet", *what]
    ):
        return
    raise SystemExit("Could not install tollspan's dependencies: see the lines above.")


def _uv() -> Path | None:
    """Find uv on PATH, else in `.venv`, where it is put if it can be."""
    if found := shutil.which("uv"):
        return Path(found)
    inside = VENV / "bin" / "uv"
    if not inside.is_file():
        _run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
    return inside if inside.is_file() else None


def _run(command: Sequence[str | Path]) -> bool:
    try:
        subprocess.run(
            command, cwd=ROOT, env=clean_environ(), check=True, timeout=STEP_TIMEOUT_SECONDS
        )
    except (subprocess.SubprocessError, OSError) as error:
        print(f"  {error}", file=sys.stderr, flush=True)
        return False
    return True


if __name__ == "__main__":
    if sys.argv[1:] not in [[name] for name in PURPOSES]:
        raise SystemExit(f"usage: environment.py {'|'.join(PURPOSES)}")
    ensure(sys.argv[1])
