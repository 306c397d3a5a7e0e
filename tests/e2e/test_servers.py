"""gunicorn and uvicorn, started as people do: one budget over all workers, and no event lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests import harness
from tests.e2e.serving import Answer, Server
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.otlp_receiver import OtlpReceiver

BIN = Path(sys.executable).parent
RUN = [str(BIN / "tollspan"), "run"]
OTEL = [str(BIN / "opentelemetry-instrument")]
APP = "tests.e2e.programs.served"
GUNICORN = [str(BIN / "gunicorn"), "-b", "127.0.0.1:0", "-w", "2", f"{APP}:wsgi"]
UVICORN = [str(BIN / "uvicorn"), "--no-access-log", "--port", "0", "--workers", "2", f"{APP}:asgi"]
# Others' instrumentors stay out, so that spans are ours; theirs are in `test_gate_and_telemetry`.
ALONE = {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": harness.OTHERS}

# A call costs 32,400 nano-USD and may cost 371,750: the 21st does not fit, whoever makes it.
LIMIT, COST, ADMITTED = "0.001003550", 32_400, 20


@pytest.mark.parametrize(
    ("launch", "server", "env"),
    [
        pytest.param(RUN, GUNICORN, {}, id="tollspan run gunicorn"),
        pytest.param(
            OTEL,
            [*GUNICORN, "--preload"],
            {"CALL_AT_IMPORT": "1"},
            id="opentelemetry-instrument gunicorn --preload",
        ),
        pytest.param(
            RUN,
            [*GUNICORN, "--preload", "--max-requests", "5"],
            {"CALL_AT_IMPORT": "1"},
            id="tollspan run gunicorn --preload --max-requests",
        ),
        # Its workers die of the SIGTERM that they were sent: what the SDK has not exported is lost.
        pytest.param(RUN, UVICORN, {"OTEL_BSP_SCHEDULE_DELAY": "100"}, id="tollspan run uvicorn"),
    ],
)
def test_a_servers_workers_share_one_budget_and_lose_no_event(
    tmp_path: Path, launch: list[str], server: list[str], env: dict[str, str]
) -> None:
    harness.write_rules(tmp_path, limit=LIMIT)
    at_import = int("CALL_AT_IMPORT" in env)
    with FakeOpenAI(Reply(output_tokens=50, latency_seconds=0.05)) as fake, OtlpReceiver() as otlp:
        environment = harness.environment(
            tmp_path, fake.base_url, **otlp.environment, **ALONE, **env
        )
        with Server([*launch, *server], environment, tmp_path) as served:
            answers = served.ask_at_once(24)
            while (last := served.ask()).outcome == "ok":
                answers.append(last)
            answers += [last, *served.ask_at_once(4)]
            calls = len(answers) + at_import
            if "OTEL_BSP_SCHEDULE_DELAY" in env:
                wait_until(lambda: len(otlp.spans) == calls)
            assert served.end() == 0, served.errors
        check_answers(answers, at_import, recycles="--max-requests" in server)
        assert not [line for line in served.errors if "tollspan" in line or "Traceback" in line], (
            served.errors
        )
        assert fake.hits == ADMITTED
        assert len(harness.usage_events(tmp_path)) == ADMITTED
        assert len(harness.denials(tmp_path)) == calls - ADMITTED
        balance = harness.balance(tmp_path)
        assert balance.posted == fake.billed_nanousd == ADMITTED * COST
        assert balance.held == balance.unresolved == 0
        ids = [span.attributes["tollspan.call.id"] for span in otlp.spans]
        assert len(set(ids)) == len(ids) == calls


def check_answers(answers: list[Answer], at_import: int, *, recycles: bool) -> None:
    """See that every worker gates, and that none has a thread of ours that it should not."""
    outcomes = [answer.outcome for answer in answers]
    assert set(outcomes) == {"ok", "BudgetExceededError"}
    assert outcomes.count("ok") == ADMITTED - at_import
    assert len({answer.pid for answer in answers}) >= (3 if recycles else 2)
    for answer in answers:
        assert answer.threads.count("tollspan-worker") <= 1
        assert len(set(answer.threads)) == len(answer.threads)
