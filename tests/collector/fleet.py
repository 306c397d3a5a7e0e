"""A whole fleet on loopback: two services and a worker, and all that stands behind them.

The programs are those of `examples/fleet`, as they are, under `opentelemetry-instrument`: each is a
host with a ledger of its own. What they spend is held by one budget of the ingest server, which has
its books in PostgreSQL and the money in Redis; their spans and metrics go through a Collector to
Jaeger and Prometheus. The providers are fakes that keep their own bills.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Self

import requests

from environment import ROOT
from tests import harness
from tests.collector.prometheus import Prometheus
from tests.collector.running import Collector, Jaeger, Process
from tests.e2e.ingest import ServeCommand
from tests.e2e.launching import OTEL, write_distro
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply
from tests.services import PostgresServer, RedisServer, Server, running_postgres, running_redis
from tollspan.ledger.central import CentralLedger

EXAMPLES = ROOT / "examples" / "fleet"
PROGRAMS = ("chat", "summaries", "worker")
BUDGET = "fleet"
_TENANT = "fleet"
_WAITS = "waiting for jobs"  # says the worker
_TEAMS = {"chat": "support", "summaries": "content", "worker": "support"}
# Spans and figures come soon, since people wait for them here.
_SOON = {
    "OTEL_BSP_SCHEDULE_DELAY": "500",
    "OTEL_METRIC_EXPORT_INTERVAL": "1000",
}
# In this environment there are others' instrumentors of everything; a fleet has one of each.
_OTHERS = f"{harness.OTHERS},langchain"


class Program(Process):
    """A program of the fleet, on a host of its own.

    Attributes:
        name: Of its service, and of its file.
        home: Where its ledger is.

    Args:
        words: Makes its command line, of the port that it is to listen at.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        environ: Mapping[str, str],
        words: Callable[[int], Sequence[str]],
    ) -> None:
        self.name = name
        self.home = folder / "home"
        self.home.mkdir(parents=True)
        said = {"OTEL_SERVICE_NAME": name, "TOLLSPAN_HOME": str(self.home), **environ}
        super().__init__(folder, {**said, "TOLLSPAN_TEAM": _TEAMS[name]})
        self._words = words

    def words(self) -> list[str]:
        return [*OTEL, *self._words(self.port)]

    def is_ready(self) -> bool:
        """Say whether it works, and has heard of the rules: until then its calls are refused."""
        if not any((self.home / "rules").glob("*")):
            return False
        return _WAITS in self.said if self.name == "worker" else super().is_ready()

    @property
    def health(self) -> str:
        return f"{self.url}/healthz"

    @property
    def said(self) -> str:
        """Its log."""
        return (self.folder / "log").read_text("utf-8", "replace")


class Fleet:
    """Runs until it is left; a context manager.

    Attributes:
        openai, anthropic: The providers.
        redis, postgres, server, agent, jaeger, prometheus: What stands behind the programs.
        key: Of the server, for everything.
        programs: By their names.
        jobs: The worker's queue.

    Args:
        folder: Where all of them keep what they keep; made anew. PostgreSQL and Redis have folders
            for temporary files, which PostgreSQL's own user may read.
        limit: Of the budget, in USD.
        latency_seconds: How long the providers take for an answer.
    """

    def __init__(self, folder: Path, *, limit: str = "0.08", latency_seconds: float = 0.05) -> None:
        self.folder = folder
        self._limit = limit
        self.openai = FakeOpenAI(Reply(output_tokens=350, latency_seconds=latency_seconds))
        self.anthropic = FakeAnthropic(Reply(output_tokens=250, latency_seconds=latency_seconds))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack as stack:
            self._start(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    # -- starting --

    def _start(self, stack: ExitStack) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for fake in (self.openai, self.anthropic):
            stack.enter_context(fake)
        self.redis: RedisServer = stack.enter_context(running_redis())
        self.postgres: PostgresServer = stack.enter_context(running_postgres())
        self.key, key_of_figures = self._serve(stack)
        self._put_rules()
        self._start_telemetry(stack, key_of_figures)
        self._start_programs(stack)

    def _serve(self, stack: ExitStack) -> tuple[str, str]:
        """Start the server; return a key for everything, and one for its own figures."""
        self.postgres.sql("CREATE DATABASE tollspan")
        server = self.server = ServeCommand(
            self.folder / "server", "--authority", self.redis.url,
            database=self.postgres.url_of("tollspan"), log=self.folder / "server.log",
        )  # fmt: skip
        said = server.start()
        stack.callback(server.end, is_killed=False)
        assert server.url in said, said
        # As `tollspan keys create` does it, without starting a process for each.
        with closing(CentralLedger(self.postgres.url_of("tollspan"))) as ledger:
            tenants = ledger.tenants
            tenants.create(_TENANT, actor=_TENANT)
            _, key = tenants.create_key(_TENANT, ["ingest", "read", "admin"], actor=_TENANT)
            _, of_figures = tenants.create_key("*", ["read"], actor=_TENANT)
        return key, of_figures

    def _put_rules(self) -> None:
        """Put the example's rules, with this fleet's limit and addresses."""
        text = (EXAMPLES / "tollspan.yaml").read_text("utf-8")
        assert text.count("limit: 0.08 USD") == 1
        text = text.replace("limit: 0.08 USD", f"limit: {self._limit} USD")
        fakes = {"openai": self.openai, "anthropic": self.anthropic}
        hosts = {fake.root_url.removeprefix("http://"): name for name, fake in fakes.items()}
        answer = requests.put(
            f"{self.server.url}/v1/rules",
            data=f"{text}hosts: {hosts}\n".encode(),
            headers={"Authorization": f"Bearer {self.key}", "Content-Type": "application/yaml"},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text

    def _start_telemetry(self, stack: ExitStack, key: str) -> None:
        self.jaeger = Jaeger(self.folder / "jaeger")
        self.agent = Collector(
            self.folder / "agent", "agent", "metrics",
            TOLLSPAN_ENDPOINT=self.server.url, TOLLSPAN_API_KEY=self.key,
            TRACES_ENDPOINT=self.jaeger.address,
        )  # fmt: skip
        self.prometheus = Prometheus(
            self.folder / "prometheus",
            key=key,
            programs=(self.agent.address_of("PROMETHEUS_PORT"),),
            collectors=(self.agent.address_of("METRICS_PORT"),),
            ingest=(f"127.0.0.1:{self.server.port}",),
        )
        _start_together(stack, self.jaeger, self.agent, self.prometheus)

    def _start_programs(self, stack: ExitStack) -> None:
        self.jobs = f"{self.redis.url}/1"
        served = (str(Path(sys.executable).parent / "uvicorn"), "--app-dir", str(EXAMPLES))
        quiet = ("--no-access-log", "--log-level", "warning")
        summaries, worker = (
            (sys.executable, str(EXAMPLES / f"{name}.py")) for name in ("summaries", "worker")
        )
        words: Mapping[str, Callable[[int], Sequence[str]]] = {
            "chat": lambda port: (*served, "chat:app", "--port", str(port), *quiet),
            "summaries": lambda port: (*summaries, str(port)),
            "worker": lambda _: (*worker, self.jobs),
        }
        environ = self._environ()
        self.programs = {
            name: Program(name, self.folder / name, environ, words[name]) for name in PROGRAMS
        }
        _start_together(stack, *self.programs.values(), is_killed=False)

    def _environ(self) -> dict[str, str]:
        """Return what every program is told, and no program's code knows."""
        return {
            "OPENAI_BASE_URL": self.openai.base_url,
            "OPENAI_API_KEY": "no-key-is-needed",
            "ANTHROPIC_BASE_URL": self.anthropic.base_url,
            "ANTHROPIC_API_KEY": "no-key-is-needed",
            "ANTHROPIC_OPEN_TELEMETRY": "false",
            "PYTHONPATH": write_distro(self.folder / "distro"),
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": _OTHERS,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=demo",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.agent.url,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "none",
            **_SOON,
            "TOLLSPAN_ENDPOINT": self.server.url,
            "TOLLSPAN_API_KEY": self.key,
            # A machine that is short of CPU is no outage.
            "TOLLSPAN_ACQUIRE_TIMEOUT": "5",
        }

    # -- asking --

    @property
    def billed_nanousd(self) -> int:
        """What the providers bill together."""
        return self.openai.billed_nanousd + self.anthropic.billed_nanousd

    def budget(self) -> Mapping[str, str]:
        """Return how the budget stands, as the server says it."""
        found = self.server.ask(f"/v1/budgets?budget={BUDGET}", self.key)["budgets"]
        assert isinstance(found, list)
        (row,) = found
        return dict(row)


def _start_together(stack: ExitStack, *servers: Server, is_killed: bool = True) -> None:
    """Start servers side by side; have them killed, or ended in good order, at the end."""
    for server in servers:
        stack.callback(server.kill if is_killed else server.stop)
    with ThreadPoolExecutor(len(servers)) as pool:
        list(pool.map(lambda one: one.start(), servers))
