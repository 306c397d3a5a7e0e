"""`tollspan prices`, as a person or a script uses it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import tollspan.pricing
from tests.unit.pricing.conftest import book_bytes
from tollspan.cli import main
from tollspan.launch import load_prices, read_settings

SHIPPED = Path(tollspan.pricing.__file__).parent / "prices.json"
SHIPPED_ID = json.loads(SHIPPED.read_bytes())["book_id"]
MODELS = {
    "gpt-4o": [None, 100, [["standard", None, None, 0, 1, {"input_uncached": 7, "output": 9}, 0]]]
}
SOURCES = [{"name": "s", "version": "1", "licence": "MIT", "url": "u", "sha256": "0"}]
NEWER = book_bytes(MODELS, date="2099-01-01", sources=SOURCES)
OLDER = book_bytes(MODELS, date="2020-01-01", sources=SOURCES)
OWN = """\
version: 1
models:
  openai/gpt-4o: {usd_per_million: {input: 2.00, output: 8.00}}
  vllm/mine: {usd_per_million: {input: 0.10, output: 0.40}}
aliases: {openai/lost: openai/gone}
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home and a working folder with nothing in them."""
    for name in ("TOLLSPAN_PRICES", "TOLLSPAN_PRICE_BOOK", "TOLLSPAN_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(["prices", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_a_models_prices_are_shown(run: Run) -> None:
    code, output, _ = run("show", "openai/gpt-5.5")
    assert code == 0
    first, titles, _, *rows = output.splitlines()
    assert first == "openai/gpt-5.5 (exact, context 1,050,000, most output 128,000)"
    assert titles.split() == [
        "tier", "from", "before", "above", "input", "output", "others", "source",
    ]  # fmt: skip
    assert any(row.split()[:4] == ["standard", "272000", "10", "45"] for row in rows)
    assert "regions: eu x1.1, us x1.1" in output
    assert "fees: code_sessions 0.03" in output
    assert output.splitlines()[-1].startswith(f"book {SHIPPED_ID};")


def test_prices_of_one_day_are_shown(run: Run) -> None:
    _, output, _ = run("show", "o3", "--provider", "openai", "--at", "2025-06-09", "--json")
    (found,) = lines(output)
    (standard,) = [row for row in found["rows"] if row["tier"] == "standard"]
    assert standard["prices"]["input_uncached"] == {"picousd": "10000000", "per": 1, "usd": "10"}
    assert (standard["valid_to"], standard["source"]) == ("2025-06-10", "genai-prices 0.2.3")


def test_a_name_is_shown_for_every_provider_that_knows_it(run: Run) -> None:
    _, output, _ = run("show", "claude-opus-5", "--json")
    providers = [found["provider"] for found in lines(output)]
    assert {"anthropic", "aws.bedrock", "gcp.vertex_ai"} <= set(providers)


def test_times_of_day_are_shown(run: Run) -> None:
    _, output, _ = run("show", "deepseek/deepseek-v4-pro", "--at", "2026-11-22")
    assert "standard 01:00-04:00" in output
    assert "standard 10:00-01:00" in output


def test_a_name_that_nobody_knows_is_said_so(run: Run) -> None:
    code, output, _ = run("show", "gpt-4o", "--provider", "anthropic")
    assert (code, output) == (1, f"no price for 'gpt-4o' at anthropic in {SHIPPED_ID}\n")


def test_a_cost_is_shown_with_its_parts(run: Run) -> None:
    code, output, _ = run(
        "cost", "--model", "openai/gpt-4o", "--input", "1_000", "--cached", "200",
        "--output", "100", "--use", "web_searches=2",
    )  # fmt: skip
    assert code == 0
    assert [row.split()[:5] for row in output.splitlines()[2:6]] == [
        ["input_uncached", "1,000", "2.5", "1M", "tokens"],
        ["cache_read", "200", "1.25", "1M", "tokens"],
        ["output", "100", "10", "1M", "tokens"],
        ["web_searches", "2", "0.01", "1", "0.02"],
    ]
    assert output.splitlines()[-1] == "priced: 0.02375 USD"


def test_a_cost_in_json_has_money_as_text(run: Run) -> None:
    arguments = ["cost", "--model", "gpt-5.5", "--provider", "openai", "--output", "1", "--json"]
    _, output, _ = run(*arguments, "--tier", "flex", "--region", "eu")
    (cost,) = lines(output)
    assert (cost["status"], cost["cost_nanousd"]) == ("priced", "16500")
    assert cost["parts"] == [
        {
            "unit": "output",
            "count": 1,
            "picousd": "165000000",
            "per": 10,
            "cost_usd": "0.0000165",
            "row_id": "openai/gpt-5.5:flex@2026-10-12",
        }
    ]


def test_a_cost_of_what_has_no_price_is_trouble(run: Run) -> None:
    code, output, _ = run("cost", "--model", "openai/gpt-4o", "--output", "1", "--use", "pages=1")
    assert code == 1
    assert output.splitlines()[-1] == "partial: 0.00001 USD, without pages"
    code, output, _ = run("cost", "--model", "none-such", "--provider", "openai", "--output", "1")
    assert (code, output.splitlines()[-1]) == (1, "unpriced: there is no amount")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-4o-mini", "openai"),
        ("claude-haiku-4-5", "anthropic"),
        ("gemini-2.0-flash", "gcp.gemini"),
        ("azure.ai.openai/gpt-4o-mini", "azure.ai.openai"),
    ],
)
def test_a_cost_is_the_makers_where_none_is_named(run: Run, model: str, provider: str) -> None:
    code, output, _ = run("cost", "--model", model, "--input", "1")
    assert code == 0
    assert f"\n{provider}/" in output


def test_a_model_that_only_others_sell_needs_a_provider(run: Run) -> None:
    code, _, errors = run("cost", "--model", "qwen/qwen3-32b", "--input", "1")
    assert code == 1
    assert "'qwen/qwen3-32b' has prices at " in errors
    assert "say which by --provider" in errors
    assert "'none-such' has no price in book" in run("cost", "--model", "none-such")[2]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("cost", "--model", "m", "--input", "many"), "no whole number"),
        (("cost", "--model", "m", "--use", "sugar=1"), "unknown unit 'sugar'; known: input"),
        (("show", "m", "--at", "soon"), "no time such as 2026-11-22"),
    ],
)
def test_wrong_use_is_refused(
    run: Run,
    arguments: tuple[str, ...],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2
    assert complaint in capsys.readouterr().err


def test_prices_in_force_are_looked_over(run: Run, tmp_path: Path) -> None:
    (tmp_path / "prices.yaml").write_text(OWN)
    code, output, _ = run("check")
    book, own, *looks = output.splitlines()
    assert code == 0
    assert book.startswith(f"ok    price book: the one that ships with tollspan: {SHIPPED_ID}, ")
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in book
    assert own.endswith("prices.yaml: 2 models and tools, 1 other names")
    assert looks == [
        "look  your own prices: 'vllm' is no provider of the book: its prices are yours alone",
        "look  your own prices: openai/lost stands for openai/gone, which has no price",
    ]


def test_a_mistake_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("version: 1\nmodels:\n  gpt-4o: {}")
    code, output, _ = run("check", "own.yaml", "--json")
    assert code == 1
    (found,) = lines(output)
    assert (found["finding"], found["subject"]) == ("bad", "your own prices")
    assert "own.yaml:3: 'gpt-4o' is no provider and model" in found["text"]
    (tmp_path / "book.json").write_bytes(SHIPPED.read_bytes().replace(b"gpt-4o", b"gpt-4x", 1))
    code, output, _ = run("check", "book.json")
    assert code == 1
    assert "it was altered" in output


def test_a_newer_book_is_put_in_place_and_used(run: Run, tmp_path: Path, home: Path) -> None:
    (tmp_path / "new.json").write_bytes(NEWER)
    digest = hashlib.sha256(NEWER).hexdigest()
    code, output, _ = run("update", "--from", "new.json", "--sha256", digest, "--json")
    (found,) = lines(output)
    assert (code, found["replaces"], found["sha256"]) == (0, SHIPPED_ID, digest)
    assert (home / "prices.json").read_bytes() == NEWER
    assert load_prices(read_settings()).book_id == found["book_id"]
    assert run("cost", "--model", "openai/gpt-4o", "--output", "1000")[1].endswith(
        "priced: 0.000000009 USD\n"
    )


def test_an_older_book_is_refused(run: Run, tmp_path: Path, home: Path) -> None:
    (tmp_path / "old.json").write_bytes(OLDER)
    code, _, errors = run("update", "--from", "old.json")
    assert code == 1
    assert f"is older than {SHIPPED_ID}, which is in force; nothing was changed" in errors
    assert [path.name for path in home.iterdir()] == []
    assert load_prices(read_settings()).book_id == SHIPPED_ID


def test_an_older_book_can_be_forced_until_the_next_update(
    run: Run, tmp_path: Path, home: Path
) -> None:
    (tmp_path / "old.json").write_bytes(OLDER)
    (tmp_path / "new.json").write_bytes(NEWER)
    assert run("update", "--from", "old.json", "--force")[0] == 0
    assert load_prices(read_settings()).book_id.startswith("20200101-")
    assert run("update", "--from", "new.json")[0] == 0
    assert load_prices(read_settings()).book_id.startswith("20990101-")
    assert [path.name for path in home.iterdir()] == ["prices.json"]


def test_a_stored_book_that_is_older_than_the_shipped_one_is_not_used(run: Run, home: Path) -> None:
    """As after an upgrade of tollspan."""
    home.mkdir()
    (home / "prices.json").write_bytes(OLDER)
    assert load_prices(read_settings()).book_id == SHIPPED_ID
    assert "is older than the one that ships, and not used" in run("check")[1]


@pytest.mark.parametrize("data", [b"", b"{}", NEWER.replace(b'"output": 9', b'"output": 8')])
def test_what_is_no_book_changes_nothing(run: Run, tmp_path: Path, home: Path, data: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(data)
    code, _, errors = run("update", "--from", "bad.json")
    assert code == 1
    assert "price book" in errors
    assert not (home / "prices.json").exists()


def test_another_hash_than_the_one_that_was_given_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "new.json").write_bytes(NEWER)
    code, _, errors = run("update", "--from", "new.json", "--sha256", "0" * 64)
    assert code == 1
    assert "its sha256 is" in errors
    assert "nothing was changed" in errors
    assert (
        "expected 64 hexadecimal digits"
        in run("update", "--from", "new.json", "--sha256", "abc")[2]
    )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server on loopback that serves the working folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(tmp_path))) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_a_book_is_fetched_from_a_url_by_its_hash(run: Run, tmp_path: Path, server: str) -> None:
    (tmp_path / "new.json").write_bytes(NEWER)
    url, digest = f"{server}/new.json", hashlib.sha256(NEWER).hexdigest()
    assert "a URL needs --sha256" in run("update", "--from", url)[2]
    assert run("update", "--from", url, "--sha256", digest)[0] == 0
    assert load_prices(read_settings()).book_id.startswith("20990101-")
    assert "404" in run("update", "--from", f"{server}/none.json", "--sha256", digest)[2]
    assert "only files, https and http" in run("update", "--from", "file:///x")[2]
