"""Settings of OpenTelemetry's that are wrong: the gate holds, and the doctor says what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import FakeOpenAI, Reply
from tests.harness import environment, program, run, write_rules

CALLS = """
    from openai import OpenAI
    with OpenAI(max_retries=0) as client:
        for _ in range(4):
            try:
                client.chat.completions.create(
                    model="gpt-4o-mini",
                    max_tokens=200,
                    messages=[{"role": "user", "content": "Hi"}],
                )
            except Exception as error:
                print(type(error).__name__)
"""


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"OTEL_PROPAGATORS": "nope"}, id="propagator"),
        pytest.param({"OTEL_PYTHON_CONTEXT": "nope"}, id="context"),
        pytest.param({"OTEL_TRACES_EXPORTER": "nope", "OTEL_PYTHON_ID_GENERATOR": "nope"},
                     id="exporter and generator"),
    ],
)  # fmt: skip
def test_the_gate_holds_whatever_telemetry_is_told(tmp_path: Path, wrong: dict[str, str]) -> None:
    write_rules(tmp_path, limit="0.0007")
    with FakeOpenAI(default=Reply(output_tokens=150)) as fake:
        done = run(program(CALLS), environment(tmp_path, fake.base_url, **wrong))
        assert (done.returncode, done.stdout) == (0, "BudgetExceededError\n"), done.stderr
        assert fake.hits == 3


def test_the_doctor_runs_where_opentelemetry_does_not(tmp_path: Path) -> None:
    write_rules(tmp_path)
    env = environment(tmp_path, "http://127.0.0.1:9/v1", OTEL_PROPAGATORS="nope")
    done = run([program("")[0], "doctor"], env)
    assert done.returncode == 1
    assert "OTEL_PROPAGATORS names 'nope', which is not installed" in done.stdout
    assert done.stderr == ""
