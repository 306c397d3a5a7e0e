"""The types of `tollspan.api` are worth something: both checkers refuse what is wrong.

That they accept what is right is seen by checking `consumer.py` itself: here with `make lint`, and
against the installed wheel in `tests/e2e/test_packaging.py`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Each line marked `wrong` must be refused, and no other.
PROGRAM = """\
# pyright: strict
from tollspan.api import BudgetExceededError, CallDeniedError, attribution, bind, install
from tollspan.api import report_usage, tool

install()
install(no_such_setting=1)  # wrong
denied: CallDeniedError = BudgetExceededError("no")
narrow: BudgetExceededError = CallDeniedError("no")  # wrong
print(denied.no_such_field)  # wrong
seconds: float = denied.resets_at  # wrong
amount: int = denied.remaining  # wrong
attribution(customer=7)  # wrong
attribution("acme")  # wrong
attribution(cutsomer="acme")  # wrong
@attribution(customer="acme", tags={"tier": "free"})
def ask(question: str) -> str:
    return question
ask(7)  # wrong
answer: int = ask("?")  # wrong
bind(ask)("?", "?")  # wrong
@tool(cost=0.005)  # wrong
def float_price() -> None: ...
@tool(cost="0.005 USD")
def find(name: str) -> int:
    return len(name)
find(1)  # wrong
found: str = find("a")  # wrong
report_usage(tool="ocr", metric="pages", value="1")  # wrong
"""


@pytest.mark.timeout(120)
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_wrong_uses_are_refused_and_right_ones_are_not(checker: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    arguments = {
        "mypy": ["--strict", f"--cache-dir={ROOT / '.mypy_cache' / 'consumer'}"],
        "pyright": [f"--pythonpath={sys.executable}"],
    }
    command = [sys.executable, "-m", checker, *arguments[checker], str(program)]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    refused = {int(line) for line in re.findall(r"program\.py:(\d+)\b.*error", answer.stdout)}
    wrong = {
        number for number, line in enumerate(PROGRAM.splitlines(), 1) if line.endswith("# wrong")
    }
    assert refused == wrong, answer.stdout + answer.stderr
