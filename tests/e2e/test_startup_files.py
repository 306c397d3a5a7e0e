"""The program's own `sitecustomize` and `usercustomize` run as they would without us."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

import pytest

from tests import harness
from tests.e2e.launching import OTEL, RUN
from tests.fakes import FakeOpenAI

ROOMS = ("instrumentation", "processor", "exporter", "ingest")
PROGRAM = """
import openai
from tollspan.api import CallDeniedError
try:
    openai.OpenAI(max_retries=0).chat.completions.create(model="gpt-4o-mini", messages=[])
except CallDeniedError as denial:
    print(type(denial).__name__)
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which both files are the program's, and a Python that looks for both.

    A virtual environment has no `usercustomize`, so it is the Python under it, with our packages on
    its path.
    """
    own = tmp_path / "own"
    own.mkdir()
    path = [own, sysconfig.get_path("purelib"), *(harness.ROOT / f"{one}/src" for one in ROOMS)]
    return harness.environment(
        tmp_path,
        "http://127.0.0.1:9/v1",
        FOLDER=str(own),
        PYTHONPATH=os.pathsep.join(map(str, path)),
    )


def write(folder: str, *, raises: str = "") -> None:
    """Write both files; each says that it runs, and one of them may raise then.

    A launcher is a Python too, in which they run before it becomes the program: that is left out.
    """
    for name in ("sitecustomize", "usercustomize"):
        end = "raise ValueError('mine')" if name == raises else "pass"
        (Path(folder) / f"{name}.py").write_text(
            "import sys\n"
            "if sys.orig_argv[1] == '-c':\n"
            f"    sys.stderr.write('{name} of the program\\n')\n"
            f"    {end}\n"
        )


@pytest.mark.parametrize("raises", ["", "sitecustomize", "usercustomize"])
def test_both_files_run_once_in_their_order_also_when_one_raises(
    env: dict[str, str], tmp_path: Path, raises: str
) -> None:
    harness.write_rules(tmp_path, limit="0")
    write(env["FOLDER"], raises=raises)
    with FakeOpenAI() as fake:
        env["OPENAI_BASE_URL"] = fake.base_url
        python = [sys._base_executable, "-c"]  # type: ignore[attr-defined]  # CPython has it
        alone = harness.run([*python, "pass"], env)
        gated = harness.run([*RUN, *python, PROGRAM], env)
        assert gated.stdout == "BudgetExceededError\n"
        assert gated.stderr == alone.stderr
        ran = [line for line in gated.stderr.splitlines() if line.endswith("of the program")]
        assert ran == ["sitecustomize of the program", "usercustomize of the program"]
        assert fake.hits == 0


def test_opentelemetrys_launcher_hides_the_first_of_them_and_we_change_nothing_of_that(
    env: dict[str, str], tmp_path: Path
) -> None:
    """It puts a `sitecustomize` of its own in front, and runs no other."""
    harness.write_rules(tmp_path, limit="0")
    write(env["FOLDER"])
    env["OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"] = harness.OTHERS
    python = [sys._base_executable, "-c", PROGRAM]  # type: ignore[attr-defined]  # the same
    for launch in (OTEL, [*RUN, *OTEL]):
        done = harness.run([*launch, *python], env)
        assert (done.stdout, done.returncode) == ("BudgetExceededError\n", 0), done.stderr
        assert done.stderr == "usercustomize of the program\n"
