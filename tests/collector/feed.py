"""What feeds a Prometheus: a program that spends, Collector, ingest server, and their troubles."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import grpc
import requests

from tests import harness
from tests.collector import spender
from tests.collector.prometheus import Prometheus
from tests.collector.running import Collector, started
from tests.e2e.ingest import ServeCommand, serving
from tests.e2e.waiting import wait_until
from tests.fakes import FakeAnthropic, FakeOpenAI

RULES = """
version: 1
defaults: {on_unpriced: allow}
budgets:
  - {id: month, limit: 200 USD, window: month, warn_at: [0.00001]}
  - {id: customer-day, per: [customer], limit: 100 USD, window: day}
  - id: burst
    per: [customer]
    where: {model: text-embedding-3-small}
    limit: 2 calls
    window: {rolling: 60s}
policies:
  - {id: no-large-models, deny: {model: gpt-4o}}
hosts: %s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Everything that runs.

    Attributes:
        home: Of the program's ledger.
        key: Of the ingest server, to send events with.
    """

    server: ServeCommand
    prometheus: Prometheus
    home: Path
    program: subprocess.Popen[bytes]
    key: str

    def finish(self) -> int:
        """Have the program end; return what its ledger has, in nano-USD."""
        assert self.program.poll() is None, "the program has ended"
        end(self.program)
        return sum(event.cost.amount_nanousd or 0 for event in harness.usage_events(self.home))

    def be_refused(self) -> None:
        """Send the ingest server what is no event, and knock without a key until it minds."""
        answer = requests.post(
            f"{self.server.url}/v1/events",
            json=[{"specversion": "1.0", "id": "1", "source": "/x", "type": "something.else"}],
            headers={
                "Authorization": f"Bearer {self.key}",
                "Content-Type": "application/cloudevents-batch+json",
            },
            timeout=30,
        )
        assert answer.status_code < 500, answer.text
        usage = f"{self.server.url}/v1/usage"
        wait_until(lambda: requests.get(usage, timeout=30).status_code == 429)


@contextlib.contextmanager
def fed(folder: Path) -> Iterator[Feed]:
    """Run it all; Prometheus looks every second."""
    with (
        serving(folder / "server", "--strangers-per-second", "1") as server,
        FakeOpenAI() as one,
        FakeAnthropic() as other,
        no_backend() as backend,
    ):
        key = server.make_key()
        to_server = {"TOLLSPAN_ENDPOINT": server.url, "TOLLSPAN_API_KEY": key}
        agent = Collector(
            folder / "agent", "agent", "metrics", TRACES_ENDPOINT=backend, **to_server
        )
        prometheus = Prometheus(
            folder / "prometheus",
            key=server.make_key("read", tenant="*"),
            programs=(agent.address_of("PROMETHEUS_PORT"),),
            collectors=(agent.address_of("METRICS_PORT"),),
            ingest=(f"127.0.0.1:{server.port}",),
        )
        environ = harness.environment(
            folder / "app",
            one.base_url,
            ANTHROPIC_BASE_URL=other.root_url,
            ANTHROPIC_API_KEY="none",
            ANTHROPIC_OPEN_TELEMETRY="false",
            OTEL_SERVICE_NAME="shop",
            OTEL_EXPORTER_OTLP_ENDPOINT=agent.url,
            OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
            OTEL_METRIC_EXPORT_INTERVAL="500",
            OTEL_BSP_SCHEDULE_DELAY="200",
            OTEL_LOGS_EXPORTER="none",
            TOLLSPAN_METRIC_DIMENSIONS="customer",
            TOLLSPAN_LOG_LEVEL="CRITICAL",
            **to_server,
        )
        hosts = {_host(one.root_url): "openai", _host(other.root_url): "anthropic"}
        harness.write_rules(folder / "app", text=RULES % _flow(hosts))
        with started(agent, prometheus), running(environ, folder / "log") as program:
            yield Feed(
                server=server,
                prometheus=prometheus,
                home=folder / "app",
                program=program,
                key=key,
            )


@contextlib.contextmanager
def no_backend() -> Iterator[str]:
    """Listen where a Collector looks for a tracing backend, and take nothing."""
    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@contextlib.contextmanager
def running(environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program under tollspan; end it in good order."""
    words = [sys.executable, str(Path(spender.__file__)), str(log)]
    command = [str(Path(sys.executable).parent / "tollspan"), "run", *words]
    with (
        log.with_name("said").open("w+b") as said,
        subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stderr=said) as program,
    ):
        try:
            yield program
        finally:
            end(program)


def end(program: subprocess.Popen[bytes]) -> None:
    """Close its input, and wait until it has ended."""
    assert program.stdin is not None
    program.stdin.close()
    program.wait(30)


def _host(url: str) -> str:
    return url.removeprefix("http://")


def _flow(hosts: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{host}": {name}' for host, name in hosts.items()) + "}"
