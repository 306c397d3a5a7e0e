"""The contract of the instrumentors holds for the oldest SDKs that we support."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache/oldest-sdks"
OLDEST = ("openai==1.66.0", "anthropic==0.51.0", "mcp==2.0.0")
# What the SDKs of that time were made with, and what the suite needs.
BESIDE = ("httpx==0.28.1", "pytest>=9", "pytest-timeout>=2.4", "hypothesis>=6.170")
SUITES = ("tests/contract/instrumentors", "tests/integration/tools/test_mcp.py")
INSTALL_SECONDS = 240
SUITE_SECONDS = 240


def uv() -> str:
    """Return the program that makes environments."""
    beside = Path(sys.executable).with_name("uv")
    found = str(beside) if beside.is_file() else shutil.which("uv")
    if found is None:
        pytest.skip("uv is not installed")
    return found


def run(*command: str | Path, timeout_seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository, without the settings of this process."""
    hidden = ("TOLLSPAN_", "OTEL_", "OPENAI_", "ANTHROPIC_", "PYTEST_", "PYTHON", "VIRTUAL_ENV")
    return subprocess.run(
        command,
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(hidden)},
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def environment() -> Path:
    """Return the Python of an environment with the oldest SDKs, which is kept between runs."""
    wanted = (*OLDEST, *BESIDE, sys.version, str(ROOT), (ROOT / "pyproject.toml").read_text())
    key = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:16]
    folder = CACHE / key
    python = folder / "bin/python"
    stamp = folder / "complete"
    if not stamp.is_file():
        shutil.rmtree(CACHE, ignore_errors=True)
        made = run(uv(), "venv", "-q", "--python", sys.executable, folder, timeout_seconds=60)
        assert made.returncode == 0, made.stderr
        install = (uv(), "pip", "install", "-q", "--python", python, "-e", ROOT)
        done = run(*install, *OLDEST, *BESIDE, timeout_seconds=INSTALL_SECONDS)
        assert done.returncode == 0, done.stderr
        stamp.touch()
    return python


def test_the_oldest_versions_are_those_of_the_extras() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for version in OLDEST:
        name, _, number = version.partition("==")
        (lowest,) = re.findall(rf'"{name} >= ([\d.]+),', text)
        assert number in (lowest, f"{lowest}.0")


@pytest.mark.service
@pytest.mark.timeout(INSTALL_SECONDS + SUITE_SECONDS)
def test_the_contract_holds_for_the_oldest_sdks() -> None:
    command = (environment(), "-m", "pytest", *SUITES, "-q", "-p", "no:cacheprovider", "-rs")
    done = run(*command, "--maxfail=5", "--tb=short", timeout_seconds=SUITE_SECONDS)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 1000, "the suite is all there"
