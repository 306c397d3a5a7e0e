"""`OTEL_CONFIG_FILE`, and start-ups of OpenTelemetry that give up: the gate needs neither."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests import harness
from tests.e2e.launching import (
    ALONE,
    APP,
    CALLS,
    OTEL,
    RUN,
    launched,
    provider,
    write_distro,
)
from tests.fakes.otlp_receiver import OtlpReceiver
from tollspan.launch import auto_launch_problem

COMMAND = [*APP, f"calls:{CALLS}"]
CONFIGURATION = """
file_format: "1.0"
resource:
  attributes:
    - {{name: service.name, value: from-the-file}}
tracer_provider:
  processors:
    - batch: {{exporter: {{otlp_http: {{endpoint: "{0}/v1/traces"}}}}}}
    - simple: {{exporter: {{otlp_http: {{endpoint: "{1}/v1/traces"}}}}}}
"""
MISTAKE = """
file_format: "1.0"
tracer_provider:
  processors:
    - tollspan: {}
"""


@pytest.fixture
def distro(tmp_path: Path) -> str:
    """A search path with what configures the SDK under `opentelemetry-instrument`."""
    return os.pathsep.join([write_distro(tmp_path / "distro"), str(harness.ROOT)])


@pytest.mark.parametrize(
    "launch",
    [
        pytest.param(OTEL, id="opentelemetry-instrument"),
        pytest.param([*RUN, *OTEL], id="tollspan run opentelemetry-instrument"),
        pytest.param(RUN, id="tollspan run"),
    ],
)
def test_spans_go_to_every_processor_of_the_file_and_to_no_other_place(
    tmp_path: Path, distro: str, launch: list[str]
) -> None:
    path = tmp_path / "otel.yaml"
    with OtlpReceiver() as one, OtlpReceiver() as two, OtlpReceiver() as left_alone:
        path.write_text(CONFIGURATION.format(one.endpoint, two.endpoint))
        with provider() as fake:
            env = {**ALONE, **left_alone.environment, "PYTHONPATH": distro}
            report = launched(
                [*launch, *COMMAND], tmp_path, fake, OTEL_CONFIG_FILE=str(path), **env
            )
        assert "Traceback" not in report.stderr
        assert left_alone.spans == []
        for receiver in (one, two):
            ids = {span.attributes["tollspan.call.id"] for span in receiver.spans}
            assert len(ids) == len(receiver.spans) == CALLS
            assert {span.resource["service.name"] for span in receiver.spans} == {"from-the-file"}


@pytest.mark.parametrize("launch", [[*RUN, *OTEL], RUN], ids=["before another launcher", "alone"])
def test_a_configuration_that_can_not_be_used_costs_spans_and_opens_no_gate_of_tollspan_run(
    tmp_path: Path, distro: str, launch: list[str]
) -> None:
    path = tmp_path / "otel.yaml"
    path.write_text(MISTAKE)
    with provider() as fake:
        env = {**ALONE, "PYTHONPATH": distro, "OTEL_CONFIG_FILE": str(path)}
        report = launched([*launch, *COMMAND], tmp_path, fake, **env)
    assert "OTEL_CONFIG_FILE can't be used, tollspan exports no spans: " in report.stderr
    if launch == RUN:
        assert "Traceback" not in report.stderr


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        pytest.param({}, None, id="nothing set"),
        pytest.param({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"}, None, id="all disabled"),
        pytest.param({"OTEL_TRACES_EXPORTER": "nonsense"}, "nonsense", id="an exporter"),
        pytest.param({"OTEL_CONFIG_FILE": "/no/such.yaml"}, "/no/such.yaml", id="a configuration"),
    ],
)
def test_a_start_up_of_opentelemetry_that_would_leave_tollspan_out_is_told_with_its_reason(
    tmp_path: Path,
    distro: str,
    monkeypatch: pytest.MonkeyPatch,
    env: dict[str, str],
    problem: str | None,
) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    home = {"TOLLSPAN_HOME": str(tmp_path), "PYTHONPATH": distro}
    for name, value in {**ALONE, **home, **env}.items():
        monkeypatch.setenv(name, value)
    found = auto_launch_problem()
    if problem is None:
        assert found is None
    else:
        assert found is not None
        assert re.match(r"[\w.]+(Error|Exception): ", found), found
        assert problem in found
