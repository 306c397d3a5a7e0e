"""Law 6: whatever telemetry does, the same calls are denied, and every call is one event."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import harness
from tests.e2e.launching import TRACES_ONLY
from tests.e2e.programs import gated
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply, refusing_base_url
from tests.fakes.otlp_receiver import OtlpReceiver

BIN = Path(sys.executable).parent
APP = [sys.executable, str(Path(gated.__file__))]
RUN = [str(BIN / "tollspan"), "run"]
OTEL = [str(BIN / "opentelemetry-instrument")]
FOREIGN = tuple(gated.FOREIGN)
SCOPES = {
    "official": "opentelemetry.instrumentation.genai.openai",
    "openllmetry": "opentelemetry.instrumentation.openai.v1",
    "openinference": "openinference.instrumentation.openai",
}
CALL_ID = "tollspan.call.id"

OUTPUT_TOKENS = 50
# Each call costs 32,400 nano-USD, and may cost 371,750: the 8th does not fit.
LIMIT = "0.000580"
ADMITTED, CALLS, COST = 7, 12, 32_400
EXPECTED = [
    (gated.KINDS[n % 4], "ok" if n < ADMITTED else "BudgetExceededError") for n in range(CALLS)
]


class Span(msgspec.Struct, kw_only=True):
    """A span of the program, as it reports it."""

    scope: str
    name: str
    is_error: bool
    trace_id: str
    span_id: str
    attributes: dict[str, str | int | float | bool | list[str]]


class Report(msgspec.Struct, kw_only=True):
    """What the program reports."""

    outcomes: list[tuple[str, str]]
    spans: list[Span]
    threads: list[str]
    seconds: float
    is_auto_instrumented: bool
    hooks: int
    stderr: str = ""

    def of_scope(self, scope: str) -> list[Span]:
        """Return the spans of one instrumentation scope."""
        return [span for span in self.spans if span.scope == scope]


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve answers of a fixed size."""
    with FakeOpenAI(Reply(output_tokens=OUTPUT_TOKENS)) as server:
        yield server


def gated_run(fake: FakeOpenAI, home: Path, command: list[str], **env: str) -> Report:
    """Run a command to its end, and check that the gate held and the books are right."""
    harness.write_rules(home, limit=LIMIT)
    done = harness.run(command, harness.environment(home, fake.base_url, **env))
    assert done.returncode == 0, done.stderr
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    report.stderr = done.stderr
    assert report.outcomes == EXPECTED, done.stderr
    assert fake.hits == ADMITTED
    events = harness.usage_events(home)
    assert len(events) == ADMITTED
    assert {event.usage.status for event in events if event.usage} == {"reported"}
    assert sum(event.cost.amount_nanousd or 0 for event in events) == fake.billed_nanousd
    denials = harness.denials(home)
    assert len(denials) == CALLS - ADMITTED
    balance = harness.balance(home)
    assert balance.posted == fake.billed_nanousd
    assert balance.held == balance.unresolved == 0
    traceparents = {event.call.id: event.traceparent for event in events}
    traceparents |= {denial.call.id: denial.traceparent for denial in denials}
    ids = [str(span.attributes[CALL_ID]) for span in report.spans if CALL_ID in span.attributes]
    assert None not in {traceparents[call_id] for call_id in ids}
    return report


def tells_every_call(spans: list[Span], *, cost_of: int) -> bool:
    """Say whether the spans name every call once, and so many of them their exact cost."""
    ids = [span.attributes.get(CALL_ID) for span in spans]
    costs = [span.attributes.get("tollspan.cost.nanousd") for span in spans]
    return len({*ids} - {None}) == len(ids) == CALLS and costs.count(COST) == cost_of


@pytest.mark.parametrize(
    ("command", "env", "spans"),
    [
        pytest.param(APP, {}, 0, id="no provider"),
        pytest.param([*APP, "provider"], {}, CALLS, id="a provider of the program"),
        pytest.param(
            [*APP, "provider"], {"OTEL_TRACES_SAMPLER": "always_off"}, 0, id="sampler always_off"
        ),
        pytest.param(
            [*APP, "provider"],
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
            0,
            id="sampler ratio 0",
        ),
        pytest.param([*APP, "provider", "suppress"], {}, 0, id="suppress_instrumentation"),
        pytest.param(
            [*APP, "provider"], {"OTEL_SDK_DISABLED": "true"}, 0, id="OTEL_SDK_DISABLED=true"
        ),
        *(
            pytest.param(
                [*APP, "provider"],
                {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": names},
                spans,
                id=f"disabled {names}",
            )
            for names, spans in (("openai", CALLS), ("tollspan-openai", 0), ("*", 0))
        ),
        pytest.param([*APP, "calls:2", "provider"], {}, CALLS - 2, id="a provider set late"),
        pytest.param([*APP, "raising-exporter"], {}, 0, id="an exporter that raises"),
        pytest.param([*APP, "raising-on-start"], {}, 0, id="a processor that raises at the start"),
        pytest.param([*APP, "raising-on-end"], {}, 0, id="a processor that raises at the end"),
    ],
)
def test_telemetry_does_not_open_the_gate(
    fake: FakeOpenAI, tmp_path: Path, command: list[str], env: dict[str, str], spans: int
) -> None:
    done = sum(int(step.removeprefix("calls:")) for step in command if step.startswith("calls:"))
    report = gated_run(fake, tmp_path, [*RUN, *command, f"calls:{CALLS - done}"], **env)
    assert len(report.spans) == len(report.of_scope("tollspan")) == spans
    if spans == CALLS:
        assert tells_every_call(report.spans, cost_of=ADMITTED)
        assert [span.is_error for span in report.spans] == [
            outcome != "ok" for _, outcome in EXPECTED
        ]


@pytest.mark.alone
def test_a_hanging_exporter_delays_no_call(fake: FakeOpenAI, tmp_path: Path) -> None:
    report = gated_run(fake, tmp_path, [*RUN, *APP, "hanging-exporter", f"calls:{CALLS}"])
    assert report.seconds < gated.HANG_SECONDS


@pytest.mark.alone
@pytest.mark.parametrize("protocol", ["grpc", "http/protobuf"])
def test_an_endpoint_that_is_down_costs_no_call_and_no_long_exit(
    fake: FakeOpenAI, tmp_path: Path, protocol: str
) -> None:
    with refusing_base_url() as base_url:
        started = time.monotonic()
        report = gated_run(
            fake,
            tmp_path,
            [*RUN, *APP, f"calls:{CALLS}"],
            OTEL_EXPORTER_OTLP_ENDPOINT=base_url.removesuffix("/v1"),
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        )
        assert time.monotonic() - started - report.seconds < 7
    assert "spans were not exported" in report.stderr


@pytest.mark.parametrize(
    "env",
    [
        pytest.param({"OTEL_TRACES_EXPORTER": "nonsense"}, id="an exporter that is not installed"),
        pytest.param(
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
                "OTEL_EXPORTER_OTLP_PROTOCOL": "smoke-signals",
            },
            id="a protocol that does not exist",
        ),
    ],
)
def test_a_wrong_exporter_setting_is_said_and_costs_only_spans(
    fake: FakeOpenAI, tmp_path: Path, env: dict[str, str]
) -> None:
    report = gated_run(fake, tmp_path, [*RUN, *APP, f"calls:{CALLS}"], **env)
    (name,) = [name for name in env if env[name] in ("nonsense", "smoke-signals")]
    assert f"{name}" in report.stderr
    assert "Traceback" not in report.stderr


@pytest.mark.parametrize("is_first", [False, True])
@pytest.mark.parametrize("foreign", FOREIGN)
def test_another_instrumentor_keeps_its_span_and_is_told_the_cost(
    fake: FakeOpenAI, tmp_path: Path, foreign: str, *, is_first: bool
) -> None:
    steps = [foreign, "tollspan"] if is_first else ["tollspan", foreign]
    report = gated_run(fake, tmp_path, [*APP, "provider", *steps, f"calls:{CALLS}"])
    theirs, ours = report.of_scope(SCOPES[foreign]), report.of_scope("tollspan")
    if is_first and foreign == "openinference":
        # It overrides the funnel in the clients' classes, and calls the SDK's past ours: its spans
        # name the call, but are not told its cost. What is refused never reaches it, so the
        # refusal's span is ours.
        assert len(theirs) == ADMITTED
        assert len({span.attributes[CALL_ID] for span in theirs}) == ADMITTED
        assert not any("tollspan.cost.nanousd" in span.attributes for span in theirs)
        assert [span.attributes["error.type"] for span in ours] == ["tollspan.budget_exceeded"] * 5
    else:
        assert ours == []
        assert tells_every_call(theirs, cost_of=ADMITTED)


@pytest.mark.parametrize(
    ("order", "is_first"),
    [
        pytest.param(FOREIGN, True, id="ours first"),
        pytest.param(FOREIGN[::-1], False, id="ours last"),
    ],
)
def test_three_instrumentors_beside_ours_change_nothing(
    fake: FakeOpenAI, tmp_path: Path, order: tuple[str, ...], *, is_first: bool
) -> None:
    steps = ["provider", *(("tollspan", *order) if is_first else (*order, "tollspan"))]
    report = gated_run(fake, tmp_path, [*APP, *steps, f"calls:{CALLS}"])
    assert all(span.is_error for span in report.of_scope("tollspan"))
    for one in FOREIGN:
        assert len(report.of_scope(SCOPES[one])) >= ADMITTED


def test_an_instrumentor_that_comes_between_two_calls_takes_the_spans_over(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    steps = ["provider", "calls:4", "official", f"calls:{CALLS - 4}"]
    report = gated_run(fake, tmp_path, [*RUN, *APP, *steps])
    assert len(report.of_scope("tollspan")) == 4
    assert len(report.of_scope(SCOPES["official"])) == CALLS - 4


NO_EXPORT = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}


@pytest.mark.parametrize(
    ("launch", "env"),
    [
        pytest.param(OTEL, {}, id="opentelemetry-instrument"),
        pytest.param(
            OTEL,
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*"},
            id="opentelemetry-instrument, all disabled",
        ),
        pytest.param([*RUN, *OTEL], {}, id="tollspan run opentelemetry-instrument"),
        pytest.param(
            [*RUN, *OTEL],
            {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "*", "OTEL_TRACES_EXPORTER": "nonsense"},
            id="tollspan run opentelemetry-instrument that fails",
        ),
        pytest.param([*OTEL, *RUN], {}, id="opentelemetry-instrument tollspan run"),
    ],
)
def test_opentelemetry_instrument_and_ours_go_together(
    fake: FakeOpenAI, tmp_path: Path, launch: list[str], env: dict[str, str]
) -> None:
    report = gated_run(
        fake, tmp_path, [*launch, *APP, "provider", f"calls:{CALLS}"], **(NO_EXPORT | env)
    )
    if "OTEL_TRACES_EXPORTER" not in env:
        assert report.is_auto_instrumented
    if not env:
        assert {span.scope for span in report.spans} >= {SCOPES["openinference"]}


def test_where_the_program_has_no_provider_ours_are_the_spans_beside_whom_it_may_be(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        steps = [*FOREIGN, f"calls:{CALLS}"]
        env = {**receiver.environment, **TRACES_ONLY}
        gated_run(fake, tmp_path, [*RUN, *APP, *steps], **env)
        wait_until(lambda: len(receiver.spans) == CALLS)
        assert {span.scope for span in receiver.spans} == {"tollspan"}


def test_ours_alone_and_then_taken_off_leaves_the_sdk_as_it_was(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path, limit="0")
    steps = ["keep", "tollspan", "calls:1", "uninstall", "same", "calls:1"]
    done = harness.run([*APP, *steps], harness.environment(tmp_path, fake.base_url))
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    assert [outcome for _, outcome in report.outcomes] == ["BudgetExceededError", "ok"]


def test_ours_under_another_lets_calls_pass_once_it_is_taken_off(
    fake: FakeOpenAI, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path, limit="0")
    steps = ["provider", "tollspan", *FOREIGN, "calls:1", "uninstall", "calls:4"]
    done = harness.run([*APP, *steps], harness.environment(tmp_path, fake.base_url))
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    assert [outcome for _, outcome in report.outcomes] == ["BudgetExceededError", *["ok"] * 4]
    assert len(report.of_scope(SCOPES["official"])) == 5
    assert fake.hits == 4


@pytest.mark.parametrize(
    ("foreign", "is_first"),
    [
        pytest.param("official", False, id="official before ours"),
        pytest.param("openinference", False, id="openinference before ours"),
        pytest.param("openinference", True, id="openinference after ours"),
    ],
)
def test_a_call_that_was_sent_and_never_answered_stays_counted_beside_another_instrumentor(
    fake: FakeOpenAI, tmp_path: Path, foreign: str, *, is_first: bool
) -> None:
    """The hook that knows that a request was sent is reached in every order."""
    fake.script.default = Reply(drop="before_headers")
    harness.write_rules(tmp_path, limit="1")
    steps = ["tollspan", foreign] if is_first else [foreign, "tollspan"]
    command = [*APP, "provider", *steps, "calls:4"]
    done = harness.run(command, harness.environment(tmp_path, fake.base_url))
    report = msgspec.json.decode(done.stdout.splitlines()[-1], type=Report)
    assert [outcome for _, outcome in report.outcomes] == ["APIConnectionError"] * 4
    assert fake.hits == 4
    balance = harness.balance(tmp_path)
    assert balance.held == 0
    assert balance.unresolved > 0
    assert balance.unresolved % 4 == 0
