"""Every defect that was proven in another system has a test here, or a reason not to arise."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import msgspec
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "defects-of-others.md"
PROVEN = {
    "pylva": [f"P{number}" for number in range(1, 29)],
    "nullspend": [f"N{number}" for number in range(1, 33)],
    "paygent": [
        *(str(number) for number in range(1, 38)),
        *(f"O{number}" for number in range(1, 8)),
    ],
    "revenium": [str(number) for number in range(1, 34)],
    "peers": [str(number) for number in range(1, 26)],
}
"""The rows of the tables in which the runs of each system were put down, by their numbers there."""

BESIDE = {"pylva": 5, "nullspend": 4, "paygent": 4, "revenium": 5, "peers": 0}
"""How many more were said beside those tables: `S1` and so on."""

ROW = re.compile(r"\| `(\w+) (\w+)` \| (.+) \| (.+) \|")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)(?:\[[^`]*\])?`")
REASON = re.compile(r"does not arise(?:, because (?P<why>[^`]{20,})| yet: (?P<what>[^`]{20,}))")
NEVER_RUN = {"skip", "skipif", "xfail", "slow"}
OF_ONE_PYTHON = "tests/integration/test_bytecodes.py"
"""Skipped on other Pythons than 3.11, whose figures they are; `make test` has that one."""


class Row(msgspec.Struct, frozen=True):
    """A defect, and what is said of it."""

    system: str
    number: str
    defect: str
    here: str

    def tests(self) -> list[tuple[str, str]]:
        """Return file and function of each test that is named."""
        return TEST.findall(self.here)

    def __str__(self) -> str:
        return f"{self.system} {self.number}"


def rows() -> list[Row]:
    """Read the page's tables."""
    lines = PAGE.read_text("utf-8").splitlines()
    return [Row(*found.groups()) for line in lines if (found := ROW.fullmatch(line))]


@cache
def tree(path: Path) -> ast.Module:
    """Parse a file of tests."""
    return ast.parse(path.read_text("utf-8"))


def marks(nodes: list[ast.expr]) -> Iterator[str]:
    """Name the marks of pytest that decorators, or a module's own ones, are made of."""
    for node in nodes:
        for part in ast.walk(node.func if isinstance(node, ast.Call) else node):
            if isinstance(part, ast.Attribute):
                yield part.attr


def module_marks(module: ast.Module) -> set[str]:
    """Return the marks that a module puts on all of its tests."""
    return {
        mark
        for node in module.body
        if isinstance(node, ast.Assign)
        and any(isinstance(name, ast.Name) and name.id == "pytestmark" for name in node.targets)
        for mark in marks([node.value])
    }


def gives_up(function: ast.FunctionDef) -> bool:
    """Say whether a test skips itself without asking anything."""
    calls = [node.value for node in function.body if isinstance(node, ast.Expr)]
    return bool({"skip", "xfail"} & set(marks(calls)))


def problem(path: str, name: str, *, root: Path = ROOT) -> str | None:
    """Say what is wrong with a test that the page names."""
    if not (root / path).is_file():
        return f"{path} is not there"
    module = tree(root / path)
    found = [one for one in module.body if isinstance(one, ast.FunctionDef) and one.name == name]
    if len(found) != 1:
        return f"{path} has no {name}"
    is_of_one_python = path == OF_ONE_PYTHON
    given = {*marks(found[0].decorator_list), *(() if is_of_one_python else module_marks(module))}
    if NEVER_RUN & given or gives_up(found[0]):
        return f"{path}::{name} is not run by `make test`"
    return None


def test_every_defect_has_one_row_in_its_order() -> None:
    expected = [
        f"{system} {number}"
        for system, numbers in PROVEN.items()
        for number in [*numbers, *(f"S{one}" for one in range(1, BESIDE[system] + 1))]
    ]
    assert [str(row) for row in rows()] == expected


def test_every_line_of_the_tables_is_read() -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    assert len([line for line in lines if line.startswith("| `")]) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=str)
def test_every_row_has_tests_that_run_or_a_reason(row: Row) -> None:
    assert len(row.defect) >= 10
    assert [found for test in row.tests() if (found := problem(*test))] == []
    named = re.findall(r"`(tests/[^`]*)`", row.here)
    assert len(named) == len(row.tests()), "a test is named in another way"
    has_reason = REASON.search(row.here) is not None
    assert has_reason == ("does not arise" in row.here)
    assert row.tests() or has_reason
    assert not re.search(r"pending|todo", row.here, re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("def test_it(): pass", None, id="it runs"),
        pytest.param("@pytest.mark.parametrize('a', [1])\ndef test_it(a): pass", None, id="cases"),
        pytest.param("def test_it():\n if 0: pytest.skip('here')", None, id="it may give up"),
        pytest.param("def test_other(): pass", "has no test_it", id="another name"),
        pytest.param("@pytest.mark.skip\ndef test_it(): pass", "not run", id="skip"),
        pytest.param("@pytest.mark.skipif(1)\ndef test_it(): pass", "not run", id="skipif"),
        pytest.param("@pytest.mark.xfail(strict=1)\ndef test_it(): pass", "not run", id="xfail"),
        pytest.param("@pytest.mark.slow\ndef test_it(): pass", "not run", id="slow"),
        pytest.param("pytestmark = pytest.mark.skip\ndef test_it(): pass", "not run", id="module"),
        pytest.param("def test_it():\n pytest.skip('later')", "not run", id="it gives up"),
    ],
)
def test_a_test_that_is_not_run_is_seen(tmp_path: Path, text: str, says: str | None) -> None:
    (tmp_path / "test_one.py").write_text(text)
    found = problem("test_one.py", "test_it", root=tmp_path)
    assert (found is None) if says is None else (found is not None and says in found)
    assert problem("test_two.py", "test_it", root=tmp_path) == "test_two.py is not there"
