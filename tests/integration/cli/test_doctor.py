"""`tollspan doctor`: what it finds, under which id, and when that is a problem."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

import tollspan.pricing
from tests.integration.cli.books import HOUR_NS, NOON_UNIX_NS, call, used, write
from tests.integration.cli.conftest import Run
from tollspan.cli import CHECK_IDS, _checks_books, _checks_otel, _checks_sdks
from tollspan.launch import PINNED_BOOK, SDKS, auto_launch_problem
from tollspan.ledger import LEDGER_FILE, SQLiteLedger

RULES = "version: 1\nbudgets: [{id: all, limit: 1 USD, window: month}]\n"
SHIPPED = Path(tollspan.pricing.__file__).parent / "prices.json"
PACKAGES = (*(sdk.package for sdk in SDKS), "mcp")
OF_SOME = {name for name in CHECK_IDS if name.startswith(("authority.", "outbox", "rules.address"))}
KNOWN = {name for name in CHECK_IDS if "<" not in name} | {f"sdk.{one}" for one in PACKAGES}


def checks(run: Run, code: int = 0) -> dict[str, dict[str, Any]]:
    """Run the doctor; return its checks by id."""
    got, output, _ = run("doctor", "--json")
    assert got == code, output
    found = json.loads(output)
    assert {"status", "version", "python", "home", "checks"} == set(found)
    assert len({check["id"] for check in found["checks"]}) == len(found["checks"])
    assert (found["status"] == "problem") == (code == 1)
    for check in found["checks"]:
        assert check["id"] in KNOWN
        assert check["status"] in {"ok", "warning", "problem"}
        assert (check["fix"] is None) == (check["status"] == "ok")
    return {check["id"]: check for check in found["checks"]}


def statuses(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return what is not ok."""
    return {name: check["status"] for name, check in found.items() if check["status"] != "ok"}


@pytest.fixture(autouse=True)
def local_disk(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    """Rules, no OpenTelemetry, and a disk that is no container's, wherever the tests run."""
    (home / "tollspan.yaml").write_text(RULES)
    for name in ("OTEL_TRACES_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_PROPAGATORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_checks_books, "file_system", lambda folder: "ext4")
    # A try of the real launcher takes seconds: one test makes it.
    monkeypatch.setattr(_checks_otel, "auto_launch_problem", lambda: None)


def test_the_launcher_of_opentelemetry_is_tried(
    home: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checks_otel, "auto_launch_problem", auto_launch_problem)
    assert checks(run)["otel.start"]["status"] == "ok"
    metadata = home / "path" / "distro-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: distro\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[opentelemetry_configurator]\ndistro = nowhere:It")
    monkeypatch.setenv("PYTHONPATH", str(metadata.parent))
    found = checks(run, code=1)
    assert found["otel.start"]["status"] == "problem"
    assert "nowhere" in found["otel.start"]["text"]


def test_a_sound_set_up_is_all_ok_and_every_known_check_was_made(home: Path, run: Run) -> None:
    write(home, used(call(1)))
    found = checks(run)
    assert statuses(found) == {}
    assert set(found) == KNOWN - OF_SOME


def test_looking_makes_no_ledger(home: Path, run: Run) -> None:
    assert "no program ran yet" in checks(run)["ledger"]["text"]
    assert not (home / LEDGER_FILE).exists()


def test_people_see_the_fix_below_the_finding(home: Path, run: Run) -> None:
    (home / "tollspan.yaml").write_text("version: 1\nbudget: []\n")
    code, output, _ = run("doctor")
    assert code == 1
    assert re.search(r"^problem +rules +.*tollspan.yaml:2: unknown key `budget`", output, re.M)
    assert re.search(r"^ +-> mend that line$", output, re.M)
    assert re.search(r"^\d+ checks: \d+ ok, 1 problem$", output, re.M)


@pytest.mark.parametrize(
    ("name", "value", "check", "says"),
    [
        ("TOLLSPAN_ACQUIRE_TIMEOUT", "soon", "settings", "TOLLSPAN_ACQUIRE_TIMEOUT is 'soon'"),
        ("OTEL_TRACES_EXPORTER", "zipkin", "otel.start", "'zipkin', which is not installed"),
        ("OTEL_METRICS_EXPORTER", "otlp,nope", "otel.start", "OTEL_METRICS_EXPORTER names 'nope'"),
        ("OTEL_PROPAGATORS", "tracecontext,nope", "otel.start", "OTEL_PROPAGATORS names 'nope'"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon", "otel.start", "expected grpc or"),
        ("OTEL_CONFIG_FILE", "/nowhere.yaml", "otel.start", "there is no such file"),
        ("TOLLSPAN_MODE", "observe", "mode", "TOLLSPAN_MODE is observe: no call is refused"),
        ("TOLLSPAN_CONFIG", "/nowhere.yaml", "rules", "No such file"),
        ("TOLLSPAN_PRICES", "/nowhere.yaml", "prices", "No such file"),
        ("TOLLSPAN_PRICE_BOOK", "/nowhere.json", "prices", "nowhere.json"),
        ("TOLLSPAN_HOME", "/dev/null", "disk", "is no folder"),
        ("TOLLSPAN_HOME", "/proc/nowhere", "disk", "can't be made"),
    ],
)
def test_what_breaks_gating_is_a_problem(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    found = checks(run, code=1)
    assert found[check]["status"] == "problem"
    assert says in found[check]["text"]


@pytest.mark.parametrize(
    ("name", "value", "check", "says"),
    [
        ("TOLLSPAN_CUSTOMR", "acme", "settings", "TOLLSPAN_CUSTOMR"),
        ("OTEL_SDK_DISABLED", "true", "otel.spans", "silences tollspan's spans"),
    ],
)
def test_what_is_odd_is_a_warning(
    run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    found = checks(run)
    assert statuses(found) == {check: "warning"}
    assert says in found[check]["text"]


def test_an_endpoints_credentials_are_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://me:secret@host:4318/v1?key=secret")
    text = checks(run)["otel.spans"]["text"]
    assert "https://host:4318/v1" in text
    assert "secret" not in text


@pytest.mark.parametrize(
    ("rules", "check"),
    [
        ("version: 1\ndefaults: {on_unavailable: allow}\nbudgets: [{id: a, limit: 1 USD}]",
         "rules.fail_open"),
        ("version: 1\ndefaults: {on_unpriced: allow}\nbudgets: [{id: a, limit: 1 USD}]",
         "rules.fail_open"),
        ("version: 1\nbudgets: []", "rules.reach"),
        ("version: 1\nbudgets: [{id: a, limit: 1 USD, on_exceed: warn}]", "rules.reach"),
        *(
            (f"version: 1\nbudgets: [{{id: a, limit: 1 USD, where: {where}}}]", "rules.reach")
            for where in (
                "{model: gpt4o}", "{model: gpt4o-mini*}", "{provider: opnai}",
                "{tool: search, model: gpt-4o}", "{tool: search, provider: openai}",
            )
        ),
    ],
)  # fmt: skip
def test_rules_that_let_calls_through_are_named(
    home: Path, run: Run, rules: str, check: str
) -> None:
    (home / "tollspan.yaml").write_text(rules)
    assert statuses(checks(run)) == {check: "warning"}


@pytest.mark.parametrize(
    "where",
    ["{model: gpt-4o*}", "{model: [nonsense, o3]}", "{model: gpt-4o-2024-08-06}", "{model: '*'}",
     "{model: gpt-4o-2031-*}", "{provider: OpenAI}", "{tool: search}", "{provider: mine}",
     "{customer: nobody-knows}"],
)  # fmt: skip
def test_budgets_that_may_count_a_call_are_not_doubted(home: Path, run: Run, where: str) -> None:
    (home / "tollspan.yaml").write_text(
        f"version: 1\nbudgets: [{{id: a, limit: 1 USD, where: {where}}}]\nhosts: {{h: mine}}\n"
    )
    assert statuses(checks(run)) == {}


def test_without_rules_nothing_is_refused(home: Path, run: Run) -> None:
    (home / "tollspan.yaml").unlink()
    assert statuses(checks(run)) == {"rules": "warning"}


@pytest.mark.parametrize(
    ("kind", "check", "status"),
    [
        ("nfs4", "disk", "problem"),
        ("overlay", "disk.container", "warning"),
        ("tmpfs", "disk.container", "warning"),
    ],
)
def test_disks_that_lose_or_mix_up_ledgers_are_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: str, check: str, status: str
) -> None:
    monkeypatch.setattr(_checks_books, "file_system", lambda folder: kind)
    assert statuses(checks(run, code=int(status == "problem"))) == {check: status}


def test_a_damaged_ledger_is_a_problem_with_its_fix(home: Path, run: Run) -> None:
    (home / LEDGER_FILE).write_bytes(b"no ledger" * 1_000)
    found = checks(run, code=1)
    assert found["ledger"]["status"] == "problem"
    assert found["ledger"]["fix"] == "run `tollspan ledger rebuild`"


def test_a_clock_behind_the_ledger_is_a_problem(home: Path, run: Run) -> None:
    hours = (time.time_ns() - NOON_UNIX_NS) // HOUR_NS + 48
    write(home, used(call(hours)))
    found = checks(run, code=1)
    assert statuses(found) == {"clock": "problem"}
    assert "the clock jumped back, or was ahead" in found["clock"]["text"]


def test_a_pinned_book_is_named_with_its_hash(home: Path, run: Run) -> None:
    (home / PINNED_BOOK).write_bytes(SHIPPED.read_bytes())
    found = checks(run)
    assert statuses(found) == {"prices.pinned": "warning"}
    assert re.search(r"sha256 [0-9a-f]{64}", found["prices.pinned"]["text"])


def test_what_was_seen_is_told_by_kind(home: Path, run: Run) -> None:
    ledger = SQLiteLedger(home)
    for kind, name in (
        ("past_the_gate", "openai POST /images/generations"),
        ("past_the_gate", "anthropic AnthropicFoundry"),
        ("not_metered", "openai realtime.connect"),
        ("imported_before_install", "openai"),
        ("mode", "observe"),
    ):
        ledger.sight(kind, name)
    ledger.close()
    found = checks(run)
    assert statuses(found) == {
        "sightings.past_the_gate": "warning",
        "sightings.not_metered": "warning",
        "sightings.mode": "warning",
    }
    assert "openai POST /images/generations, 1 times" in found["sightings.past_the_gate"]["text"]
    not_metered = found["sightings.not_metered"]["text"]
    assert "AnthropicFoundry, 1 times" in not_metered
    assert "realtime.connect, 1 times" in not_metered
    assert "observe, 1 times" in found["sightings.mode"]["text"]
    assert "openai, 1 times" in found["install.order"]["text"]


def test_sdks_that_are_not_gated_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checks_sdks, "_OTHERS", ("pytest",))
    found = checks(run)
    assert statuses(found) == {"sdk.others": "warning"}
    assert "pytest " in found["sdk.others"]["text"]
