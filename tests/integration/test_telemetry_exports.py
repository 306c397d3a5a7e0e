"""Where spans, metrics and log events go, by the standard settings and the program's own set-up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.ingest import FakeIngest
from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedMetric

CALLS = """
    import openai
    from tollspan.api import BudgetExceededError

    client = openai.OpenAI(max_retries=0)
    asked = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=50)

    def refused(**more):
        try:
            client.chat.completions.create(**{**asked, "max_tokens": 10**8, **more})
        except BudgetExceededError:
            return True
        raise AssertionError
"""
ASKED = "client.chat.completions.create(**asked)"


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve answers of a fixed size."""
    with FakeOpenAI(Reply(output_tokens=20)) as server:
        yield server


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    """Receive all three signals."""
    with OtlpReceiver() as endpoint:
        yield endpoint


def run(home: Path, fake: FakeOpenAI, code: str, **env: str) -> tuple[str, str]:
    """Run a program under `tollspan run`; return what it printed, output and errors."""
    lines = "\n".join(f"    {line}" for line in code.strip("\n").splitlines())
    done = harness.run(
        harness.program(CALLS + lines), harness.environment(home, fake.base_url, **env)
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def count(metric: ReceivedMetric) -> int:
    """Return how many values a histogram has seen."""
    return sum(point.count for point in metric.points)


@pytest.mark.parametrize("signal", ["metrics", "logs"])
def test_each_signal_is_silenced_by_its_own_setting(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path, signal: str
) -> None:
    harness.write_rules(tmp_path)
    env = {**receiver.environment, f"OTEL_{signal.upper()}_EXPORTER": "none"}
    _, errors = run(tmp_path, fake, f"{ASKED}\nrefused()", **env)
    assert errors == ""
    there = {"metrics": receiver.metrics, "logs": receiver.logs, "traces": receiver.spans}
    assert {name for name, got in there.items() if not got} == {signal}


def test_an_endpoint_of_one_signal_gets_that_one_alone(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    env = {
        "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": f"{receiver.endpoint}/v1/metrics",
        "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "http/protobuf",
    }
    _, errors = run(tmp_path, fake, f"{ASKED}\nrefused()", **env)
    assert errors == ""
    assert receiver.metrics
    assert receiver.logs == []
    assert receiver.spans == []


def test_who_is_silenced_exports_nothing_and_keeps_the_books(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    env = {**receiver.environment, "OTEL_SDK_DISABLED": "true"}
    run(tmp_path, fake, f"{ASKED}\nrefused()", **env)
    assert receiver.bodies == []
    assert len(harness.usage_events(tmp_path)) == len(harness.denials(tmp_path)) == 1


OWN_PROVIDERS = """
import json
from opentelemetry import _logs, metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

client.chat.completions.create(**asked)
refused()
import time
time.sleep(1)
reader, memory = InMemoryMetricReader(), InMemoryLogRecordExporter()
metrics.set_meter_provider(MeterProvider([reader]))
provider = LoggerProvider()
provider.add_log_record_processor(SimpleLogRecordProcessor(memory))
_logs.set_logger_provider(provider)
client.chat.completions.create(**asked)
refused()
refused()
from tollspan.launch._install import _installed
_installed.lifecycle.worker.drain(10)
found = {
    metric.name: sum(getattr(point, "count", 0) or point.value for point in metric.data.data_points)
    for of_resource in reader.get_metrics_data().resource_metrics
    for of_scope in of_resource.scope_metrics
    for metric in of_scope.metrics
}
events = [one.log_record.event_name for one in memory.get_finished_logs()]
print(json.dumps([found, events]))
"""


def test_the_programs_own_providers_take_over_when_they_appear(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    output, errors = run(tmp_path, fake, OWN_PROVIDERS, **receiver.environment)
    assert errors == ""
    theirs, events = json.loads(output)
    ours = receiver.newest_metrics()
    # Each call is in one of them, and in one only.
    assert count(ours["gen_ai.client.operation.duration"]) == 1
    assert theirs["gen_ai.client.operation.duration"] == 1
    assert theirs["tollspan.decisions"] == 3
    assert theirs["tollspan.budget.limit"] == 100
    assert [log.event_name for log in receiver.logs] == ["tollspan.decision"]
    assert events == ["tollspan.decision"] * 2


FORKING = """
import os
client.chat.completions.create(**asked)
client.chat.completions.create(**asked)
pid = os.fork()
if pid == 0:
    try:
        client = openai.OpenAI(max_retries=0)
        client.chat.completions.create(**asked)
        refused()
        from tollspan.launch._install import _at_exit
        _at_exit()
    finally:
        os._exit(0)
os.waitpid(pid, 0)
"""


def test_a_forked_child_exports_its_own_sums_under_a_name_of_its_own(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    _, errors = run(tmp_path, fake, FORKING, **receiver.environment)
    assert errors == ""
    durations = {
        str(metric.resource["service.instance.id"]): count(metric)
        for metric in receiver.metrics
        if metric.name == "gen_ai.client.operation.duration"
    }
    assert sorted(durations.values()) == [1, 2]
    assert [log.event_name for log in receiver.logs] == ["tollspan.decision"]


def test_who_pays_is_no_label_unless_asked_for(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    payer = {"TOLLSPAN_CUSTOMER": "acme", "TOLLSPAN_SESSION": "s-1", "TOLLSPAN_FEATURE": "search"}
    run(tmp_path, fake, f"{ASKED}\nrefused()", **receiver.environment, **payer)
    told = {
        value
        for metric in receiver.metrics
        for point in metric.points
        for value in point.attributes.values()
    }
    assert told.isdisjoint({"acme", "s-1", "search"})

    receiver.metrics.clear()
    chosen = {"TOLLSPAN_METRIC_DIMENSIONS": "customer, feature"}
    run(tmp_path, fake, f"{ASKED}\nrefused()", **receiver.environment, **payer, **chosen)
    metrics = receiver.newest_metrics()
    for name in ("tollspan.cost", "tollspan.decisions"):
        for point in metrics[name].points:
            assert point.attributes["tollspan.customer.id"] == "acme"
            assert point.attributes["tollspan.feature"] == "search"
            assert "session.id" not in point.attributes
    for point in metrics["gen_ai.client.operation.duration"].points:
        assert "tollspan.customer.id" not in point.attributes


@pytest.mark.parametrize("is_wanted", [False, True])
def test_the_cost_has_the_conventions_proposed_name_on_request_only(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path, *, is_wanted: bool
) -> None:
    harness.write_rules(tmp_path)
    env = {"TOLLSPAN_SEMCONV_COST": "true"} if is_wanted else {}
    vectors = 'client.embeddings.create(model="text-embedding-3-small", input="hi")'
    run(tmp_path, fake, f"{ASKED}\n{vectors}\nrefused()", **receiver.environment, **env)
    chat, embeddings, denied = receiver.spans
    told = {name for name in chat.attributes if name.startswith("gen_ai.usage.cost.")}
    if not is_wanted:
        assert told == set()
        return
    assert chat.attributes["gen_ai.usage.cost.amount"] == chat.attributes["tollspan.cost.usd"]
    assert type(chat.attributes["gen_ai.usage.cost.amount"]) is float
    assert chat.attributes["gen_ai.usage.cost.currency"] == "USD"
    assert chat.attributes["gen_ai.usage.cost.source"] == "local"
    for other in (embeddings, denied):
        assert told.isdisjoint(other.attributes)


def test_what_waits_for_the_ledger_is_told(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(
        tmp_path,
        text="""
            version: 1
            defaults: {on_unavailable: allow}
            budgets: [{id: all, limit: 1 USD}]
        """,
    )
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 1000)
    run(tmp_path, fake, f"{ASKED}\n{ASKED}", **receiver.environment)
    metrics = receiver.newest_metrics()
    (waiting,) = metrics["tollspan.outbox.events"].points
    (age,) = metrics["tollspan.outbox.age"].points
    assert waiting.value == 2
    assert 0 < age.value < 60
    assert "tollspan.budget.limit" not in metrics


def test_what_is_sent_to_a_server_is_told_and_why_it_is_not(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    with FakeIngest() as ingest:
        sending = {
            **receiver.environment,
            "TOLLSPAN_ENDPOINT": ingest.root_url,
            "TOLLSPAN_API_KEY": ingest.key,
            "TOLLSPAN_AUTHORITY": "sqlite:",
        }
        ingest.status = 503
        pause = "import time; time.sleep(2.5)"
        run(tmp_path, fake, f"{ASKED}\n{pause}", **sending)
        metrics = receiver.newest_metrics()
        (waiting,) = metrics["tollspan.shipping.waiting"].points
        (age,) = metrics["tollspan.shipping.age"].points
        failed = metrics["tollspan.shipping.failures"].points
        assert (waiting.value, 0 < age.value < 60) == (1, True)
        assert [point.attributes for point in failed] == [{"error.type": "503"}]
        ingest.status = 200
        ingest.refuses = lambda _: "odd"
        run(tmp_path, fake, f"{ASKED}\n{pause}", **sending)
        metrics = receiver.newest_metrics()
        (waiting,) = metrics["tollspan.shipping.waiting"].points
        (sent,) = metrics["tollspan.shipping.sent"].points
        (rejected,) = metrics["tollspan.shipping.rejected"].points
        assert (waiting.value, sent.value, rejected.value) == (0, 0, 2)


def test_gaps_between_chunks_are_recorded_sync_and_async(
    fake: FakeOpenAI, receiver: OtlpReceiver, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path)
    code = """
import asyncio
reply = '{"chunks": ["a", "b", "c", "d"], "chunk_delay_seconds": 0.05}'
fake = {"extra_headers": {"x-fake": reply}}
for chunk in client.chat.completions.create(stream=True, **asked, **fake):
    pass
stream = client.chat.completions.create(stream=True, **asked, **fake)
try:
    while True:
        next(stream)
except StopIteration:
    pass

async def main():
    async with openai.AsyncOpenAI(max_retries=0) as other:
        async for chunk in await other.chat.completions.create(stream=True, **asked, **fake):
            pass

asyncio.run(main())
"""
    run(tmp_path, fake, code, **receiver.environment)
    gaps = receiver.newest_metrics()["gen_ai.client.operation.time_per_output_chunk"]
    (point,) = gaps.points
    # Each stream: an opening chunk, four pieces with three pauses, an end, and the usage.
    assert point.count == 3 * 6
    assert 3 * 3 * 0.05 * 0.8 <= point.value < 3 * 3 * 0.05 + 2  # pauses of two clocks
