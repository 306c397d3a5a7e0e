"""A real Collector with the project's configurations, and what stands around it, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import go_programs
from environment import ROOT
from tests.services import Server, free_port

CONFIGURATIONS = ROOT / "collector-config"
# What the configurations need to be told; each Collector says what is true for it.
NOBODY = "127.0.0.1:9"
UNSAID: Mapping[str, str] = {
    "TOLLSPAN_ENDPOINT": f"http://{NOBODY}",
    "TOLLSPAN_API_KEY": "none",
    "TRACES_ENDPOINT": NOBODY,
    "GATEWAY_PEERS": f"[{NOBODY}]",
    "KAFKA_BROKERS": f"[{NOBODY}]",
    "CLICKHOUSE_ENDPOINT": f"tcp://{NOBODY}",
    "CLICKHOUSE_PASSWORD": "none",
}
# Besides the one for OTLP over HTTP.
PORTS = ("GRPC_PORT", "HEALTH_PORT", "METRICS_PORT", "PEERS_PORT", "PROMETHEUS_PORT")


class Process(Server):
    """A program with settings in its environment.

    Attributes:
        environ: The settings; read at each start.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        super().__init__(folder)
        self.environ = dict(environ)

    def command(self) -> list[str]:
        words = self.words()  # which may say more in the environment
        said = [f"{name}={value}" for name, value in self.environ.items()]
        return ["env", "-i", f"PATH={os.defpath}", f"HOME={self.folder}", *said, *words]

    def words(self) -> list[str]:
        """Return the program and its arguments."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(self.health, timeout=2) as answer:
            return int(answer.status) == 200
        return False

    @property
    def health(self) -> str:
        """What answers 200 once it is up."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Collector(Process):
    """The Collector, with `calls.yaml` and others.

    Attributes:
        names: The other configurations, `("agent",)`.
    """

    def __init__(self, folder: Path, *names: str, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, {**UNSAID, "QUEUE_FOLDER": str(folder / "queue"), **environ})
        self.names = names
        for name in PORTS:
            self.environ.setdefault(name, str(free_port()))

    def words(self) -> list[str]:
        return [str(go_programs.ensure(go_programs.collector())), *self.configurations()]

    def configurations(self) -> list[str]:
        """Return the words of its command line that name its configurations."""
        self.environ["HTTP_PORT"] = str(self.port)
        files = [CONFIGURATIONS / f"{name}.yaml" for name in ("calls", *self.names)]
        return [word for file in files for word in ("--config", str(file))]

    @property
    def health(self) -> str:
        return f"http://127.0.0.1:{self.environ['HEALTH_PORT']}/"

    def address_of(self, port: str) -> str:
        """Return `host:port` of one of `PORTS`."""
        return f"127.0.0.1:{self.environ[port]}"

    @property
    def said(self) -> str:
        """Its log."""
        return (self.folder / "log").read_text("utf-8", "replace")


class Jaeger(Process):
    """Jaeger, with spans in memory.

    Attributes:
        address: Where it takes OTLP over gRPC.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        names = ("JAEGER_GRPC_PORT", "JAEGER_QUERY_PORT", "HEALTH_PORT")
        super().__init__(folder, {name: str(free_port()) for name in names})
        self.address = f"127.0.0.1:{self.environ['JAEGER_GRPC_PORT']}"

    def words(self) -> list[str]:
        self.environ["JAEGER_PORT"] = str(self.port)
        program = go_programs.ensure(go_programs.jaeger())
        return [str(program), "--config", str(CONFIGURATIONS / "jaeger.yaml")]

    @property
    def health(self) -> str:
        return f"http://127.0.0.1:{self.environ['HEALTH_PORT']}/status"

    def found(self, service: str, **tags: str) -> list[JaegerSpan]:
        """Return the spans that a search by tags finds."""
        asked = {"service": service, "tags": json.dumps(tags), "limit": "1000"}
        answer = requests.get(f"{self.url}/api/traces", params=asked, timeout=30)
        assert answer.status_code == 200, answer.text
        spans = [span for trace in answer.json()["data"] for span in trace["spans"]]
        made = [
            JaegerSpan(
                trace_id=span["traceID"],
                name=span["operationName"],
                tags={tag["key"]: tag["value"] for tag in span["tags"]},
            )
            for span in spans
        ]
        return [span for span in made if tags.items() <= span.texts.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class JaegerSpan:
    """A span as Jaeger's query API tells it; `error` is the tag that its pages paint red."""

    trace_id: str
    name: str
    tags: Mapping[str, str | int | float | bool]

    @property
    def texts(self) -> dict[str, str]:
        """The tags as a search compares them."""
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in self.tags.items()
        }


@contextlib.contextmanager
def started(*servers: Server) -> Iterator[None]:
    """Start servers, in order; end them in the other one."""
    with contextlib.ExitStack() as stack:
        for server in servers:
            stack.callback(server.kill)
            server.start()
        yield


@contextlib.contextmanager
def tracing(endpoint: str, service: str = "app") -> Iterator[TracerProvider]:
    """Give a tracer provider whose spans go to a Collector as programs send them, over HTTP."""
    provider = TracerProvider(resource=Resource({"service.name": service}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
    try:
        yield provider
    finally:
        provider.shutdown()
