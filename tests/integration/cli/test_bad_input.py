"""Whatever a command is given: one line that names place and fix, an exit code, no traceback."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.cli.books import EVERY_KIND, write
from tests.integration.cli.conftest import Run
from tollspan.ledger import LEDGER_FILE

HUGE = "9" * 5_000
BOMB = (
    "a0: &a0 [x, x]\n"
    + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    + "version: 1\nbudgets: *a59\n"
)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param((), "COMMAND", id="nothing"),
        pytest.param(("spend",), "invalid choice: 'spend'", id="no such command"),
        pytest.param(("events", "--jso"), "unrecognized arguments: --jso", id="abbreviated"),
        pytest.param(("events", "more"), "unrecognized arguments: more", id="too many"),
        pytest.param(("events", "-n", "0"), "-n/--newest: '0'", id="none"),
        pytest.param(("events", "-n", "-1"), "-n", id="negative"),
        pytest.param(("events", "-n", HUGE), "no whole number", id="huge number"),
        pytest.param(("events", "-n", "9" * 19), "no whole number", id="more than 63 bits"),
        pytest.param(("events", "-n", "NaN"), "'NaN' is no whole number", id="not a number"),
        pytest.param(("events", "-n", "\x00"), r"'\x00' is no whole number", id="control"),
        pytest.param(("events", "--since", "soon"), "--since: 'soon' is no duration", id="soon"),
        pytest.param(("events", "--since", "9999-12-31"), "no duration", id="too late"),
        pytest.param(("report", "--until", "-1h"), "--until", id="negative age"),
        pytest.param(("events", "--tag", "tier"), "'tier' is no NAME=VALUE", id="tag"),
        pytest.param(("report", "--by", "colour"), "unknown dimension 'colour'", id="dimension"),
        pytest.param(("report", "--by", ""), "names no dimension", id="no dimension"),
        pytest.param(("run",), "which program?", id="run what"),
        pytest.param(("events", "-f", "--until", "2030-01-01"), "--follow has no end", id="end"),
        pytest.param(("prices", "cost"), "--model", id="no model"),
        pytest.param(("prices", "cost", "--model", "m", "--input", "1e9"), "--input", id="float"),
        pytest.param(("prices", "show", "m", "--at", "0001-01-01"), "--at", id="too early"),
        pytest.param(("config",), "ACTION", id="config what"),
        pytest.param(("ledger", "burn"), "invalid choice: 'burn'", id="burn"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_two(
    home: Path, run: Run, arguments: tuple[str, ...], says: str
) -> None:
    code, output, errors = run(*arguments)
    assert (code, output) == (2, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith("tollspan")
    assert says in errors


def garbage(path: Path) -> None:
    path.write_bytes(random.Random(7).randbytes(4_096))


def nothing(path: Path) -> None:
    assert not path.exists()


def fifty_megabytes(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(50 << 20)


def text(content: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(content)


DOCUMENTS = [
    pytest.param(Path.mkdir, "Is a directory", id="a folder"),
    pytest.param(nothing, "No such file", id="no file"),
    pytest.param(garbage, "no text in UTF-8", id="garbage"),
    pytest.param(fifty_megabytes, "is larger than 16 MiB", id="50 MB"),
    pytest.param(lambda path: path.symlink_to("/dev/zero"), "is larger than", id="endless"),
    pytest.param(lambda path: path.symlink_to(path), "can't be read", id="a loop"),
    pytest.param(text(""), "is empty", id="empty"),
    pytest.param(text("version: 1\nversion: 1\n"), "`version` is written twice", id="twice"),
    pytest.param(text("version: 1\x00\n"), "yaml:1: not YAML: the character U+0000", id="NUL"),
    pytest.param(text("version: 1\nbudgets: [\n"), "yaml:2: not YAML", id="not closed"),
    pytest.param(text("[" * 100_000), "nest", id="deep"),
    pytest.param(text("- " * 50_000 + "a"), "nest", id="deep in lines"),
    pytest.param(text(BOMB), "yaml", id="aliases"),
    pytest.param(text("version: 1\nbudgets: &a [*a]\n"), "yaml:2", id="itself"),
    pytest.param(text("version: 1\n<<: {a: 1}\n"), "unknown key `<<`", id="merge key"),
    pytest.param(text("--- 1\n--- 2\n"), "yaml", id="two documents"),
]


@pytest.mark.parametrize(("make", "says"), DOCUMENTS)
@pytest.mark.parametrize(
    ("variable", "command"),
    [
        pytest.param("TOLLSPAN_CONFIG", ("config", "check"), id="rules"),
        pytest.param("TOLLSPAN_PRICES", ("prices", "check"), id="prices"),
    ],
)
def test_a_bad_document_is_named_with_its_line(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object], says: str, variable: str, command: tuple[str, ...],
) -> None:  # fmt: skip
    document = tmp_path / "bad.yaml"
    make(document)
    monkeypatch.setenv(variable, str(document))
    started = time.monotonic()
    for arguments in (command, (*command, str(document))):
        code, output, errors = run(*arguments)
        assert code == 1
        assert errors == ""
        (line,) = [one for one in output.splitlines() if "bad.yaml" in one]
        assert says in line
        assert len(line) < 1_000
    assert time.monotonic() - started < 10


LIMITS = (
    "5", "-1 calls", "1.5 tokens", "10000000000000000 calls",
    "-5 USD", "NaN USD", "inf USD", "1e9 USD", "5 EUR", "0.0000000001 USD", "10000000001 USD",
    f"{HUGE} USD", "1.00000000000000000000000000000000000000000000000001 USD", "five USD", "USD",
    "\u0665 USD", "5 USD per day", "0x10 USD",
)  # fmt: skip


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_is_none_is_named(home: Path, run: Run, limit: str) -> None:
    (home / "tollspan.yaml").write_text(f"version: 1\nbudgets:\n  - id: a\n    limit: '{limit}'\n")
    code, output, _ = run("config", "check")
    assert code == 1
    assert "tollspan.yaml:4: `limit` is " in output


def a_ledger(make: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return what makes a home whose ledger is made like this."""

    def home(path: Path) -> None:
        path.mkdir()
        make(path / LEDGER_FILE)

    return home


HOMES: list[tuple[str, Callable[[Path], object], str]] = [
    ("a file", text("x"), "no ledger at"),
    ("nowhere", nothing, "no ledger at"),
    ("a ledger that is a folder", a_ledger(Path.mkdir), "can't"),
    ("a ledger that is garbage", a_ledger(garbage), "is damaged"),
    ("a ledger that is empty", a_ledger(Path.touch), "can't"),
]


@pytest.mark.parametrize("command", ["events", "report", "budgets"])
@pytest.mark.parametrize(
    ("make", "says"), [pytest.param(make, says, id=name) for name, make, says in HOMES]
)
def test_a_bad_home_is_named(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, command: str,
    make: Callable[[Path], object], says: str,
) -> None:  # fmt: skip
    odd = tmp_path / "odd"
    make(odd)
    monkeypatch.setenv("TOLLSPAN_HOME", str(odd))
    code, output, errors = run(command)
    assert (code, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert str(odd) in errors
    assert says in errors


@pytest.mark.parametrize("name", ["a b", "what?", "100%", "a#b", "Zoë", "%41"])
def test_a_home_may_have_any_name(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    odd = tmp_path / name
    write(odd, *EVERY_KIND)
    monkeypatch.setenv("TOLLSPAN_HOME", str(odd))
    assert len(run("events", "--json")[1].splitlines()) == len(EVERY_KIND)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_named(home: Path, run: Run) -> None:
    write(home, *EVERY_KIND)
    home.chmod(0)
    try:
        code, _, errors = run("events")
    finally:
        home.chmod(0o700)
    assert code == 1
    assert str(home) in errors


@pytest.mark.parametrize("variable", ["TOLLSPAN_ACQUIRE_TIMEOUT", "TOLLSPAN_DURABILITY"])
@pytest.mark.parametrize("value", ["NaN", "-1", HUGE, "\x1b[31m", "1e400"])
def test_a_bad_setting_is_named(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    code, _, errors = run("events")
    assert code == 1
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"tollspan: {variable} is ")
    assert "\x1b" not in errors


@pytest.mark.parametrize(
    "origin", ["/nowhere.json", "/", "/dev/zero", "ftp://host/x", "https://127.0.0.1:1/x", ""]
)
def test_a_bad_price_book_changes_nothing(home: Path, run: Run, origin: str) -> None:
    code, _, errors = run("prices", "update", "--from", origin)
    assert code == 1
    assert len(errors.splitlines()) == 1
    assert errors.startswith("tollspan: ")
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(garbage, id="garbage"),
        pytest.param(Path.mkdir, id="a folder"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), id="endless"),
        pytest.param(text("[" * 100_000), id="deep"),
        pytest.param(text('{"format": 1e999}'), id="numbers"),
    ],
)
def test_a_price_book_that_is_none_is_named(
    home: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], object],
) -> None:  # fmt: skip
    book = tmp_path / "book.json"
    make(book)
    monkeypatch.setenv("TOLLSPAN_PRICE_BOOK", str(book))
    code, output, errors = run("prices", "show", "gpt-4o")
    assert (code, output) == (1, "")
    assert len(errors.splitlines()) == 1
    assert errors.startswith(f"tollspan: price book {book}: ")
