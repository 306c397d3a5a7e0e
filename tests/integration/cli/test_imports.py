"""What a command imports: nothing that it does not need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.cli.books import EVERY_KIND, write

PROGRAM = """
import json, sys
from tollspan.cli import main
code = main(sys.argv[1:])
heavy = ("opentelemetry", "rich", "openai", "anthropic", "argcomplete")
sys.stderr.write(json.dumps([name for name in heavy if name in sys.modules]))
sys.exit(code)
"""


@pytest.mark.parametrize("command", ["events", "report", "budgets"])
def test_looking_at_the_books_imports_no_sdk_and_no_opentelemetry(home: Path, command: str) -> None:
    write(home, *EVERY_KIND)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, command, "--json"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert json.loads(done.stderr) == []
