"""Every way to start, alone and together: the same denials, one event and one span a call."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import harness
from tests.e2e.launching import (
    ADMITTED,
    ALONE,
    APP,
    CALLS,
    COST,
    OTEL,
    RUN,
    TRACES_ONLY,
    launched,
    provider,
    write_distro,
)
from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedSpan


def is_one_a_call(spans: list[ReceivedSpan]) -> bool:
    """Say whether there is one span of ours for each call, with its cost where it was made."""
    ids = {span.attributes["tollspan.call.id"] for span in spans}
    costs = [span.attributes.get("tollspan.cost.nanousd") for span in spans]
    return len(ids) == len(spans) == CALLS and costs.count(COST) == ADMITTED


@pytest.mark.parametrize(
    ("launch", "steps"),
    [
        pytest.param(RUN, [], id="tollspan run"),
        pytest.param(OTEL, [], id="opentelemetry-instrument"),
        pytest.param([], ["tollspan", "tollspan"], id="install"),
        pytest.param([*RUN, *OTEL], [], id="tollspan run and opentelemetry-instrument"),
        pytest.param(RUN, ["tollspan"], id="tollspan run and install"),
        pytest.param(OTEL, ["tollspan"], id="opentelemetry-instrument and install"),
        pytest.param([*RUN, *OTEL], ["tollspan"], id="all three"),
    ],
)
def test_every_way_to_start_gates_and_counts_alike_with_opentelemetry_and_without(
    tmp_path: Path, launch: list[str], steps: list[str]
) -> None:
    command = [*launch, *APP, *steps, f"calls:{CALLS}"]
    bare, traced, by_distro = tmp_path / "bare", tmp_path / "traced", tmp_path / "by-distro"
    path = os.pathsep.join([write_distro(tmp_path / "distro"), str(harness.ROOT)])
    with OtlpReceiver() as ours, OtlpReceiver() as theirs, ThreadPoolExecutor(2) as pool:
        settings: dict[Path, dict[str, str]] = {
            bare: {},
            traced: ours.environment,
            by_distro: {**theirs.environment, **TRACES_ONLY, "PYTHONPATH": path},
        }
        if (launch, bool(steps)) not in ((OTEL, False), ([*RUN, *OTEL], True)):
            del settings[by_distro]
        with provider() as one, provider() as two, provider() as three:
            running = [
                pool.submit(launched, command, home, fake, **ALONE, **env)
                for (home, env), fake in zip(settings.items(), (one, two, three), strict=False)
            ]
            for run in running:
                assert run.result().stderr == ""
        for receiver in (ours, theirs)[: len(settings) - 1]:
            assert is_one_a_call(receiver.spans)
            assert {span.scope for span in receiver.spans} == {"tollspan"}


def test_a_provider_that_comes_after_a_distributions_is_not_the_global_one_and_gets_no_span(
    tmp_path: Path,
) -> None:
    """OpenTelemetry refuses to set a second one; the program would have to hand it over."""
    path = os.pathsep.join([write_distro(tmp_path / "distro"), str(harness.ROOT)])
    command = [*RUN, *OTEL, *APP, "provider", f"calls:{CALLS}"]
    with OtlpReceiver() as otlp, provider() as fake:
        env = {**ALONE, **otlp.environment, **TRACES_ONLY, "PYTHONPATH": path}
        report = launched(command, tmp_path, fake, **env)
        assert "Overriding of current TracerProvider is not allowed" in report.stderr
        assert report.spans == []
        assert is_one_a_call(otlp.spans)
