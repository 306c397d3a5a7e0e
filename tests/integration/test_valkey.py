"""What is shown of the authority over Redis holds over Valkey too, where that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness import ROOT

SUITES = (
    "tests/contract/authority",
    "tests/contract/ledger",
    "tests/integration/ledger",
    "tests/e2e/test_law1_many_hosts.py",
    "tests/e2e/test_hanging_authority.py",
)
SAYS_ITSELF = """
from tests.services import running_redis
with running_redis() as server:
    print(server.ask("INFO server"))
"""


@pytest.mark.slow
@pytest.mark.service
def test_what_holds_over_redis_holds_over_valkey(tmp_path: Path) -> None:
    valkey = shutil.which("valkey-server")
    if valkey is None:
        pytest.skip("no valkey-server: Debian 13 has it, and Debian 12's backports")
    # Tests start what is called `redis-server`, where there is one.
    (tmp_path / "redis-server").symlink_to(Path(valkey).resolve())
    path = f"{tmp_path}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environ = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=1_200,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
        return done.stdout

    assert "server_name:valkey" in run("-c", SAYS_ITSELF)
    wanted = ("-k", "redis", "-m", "not slow", "-p", "no:cacheprovider")
    said = run("-m", "pytest", "-q", *SUITES, *wanted)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 150, "the suites are all there"
