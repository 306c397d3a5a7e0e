"""One call that everybody tells of has one posting, in whatever order, however often sent again.

Two programs have ours in them. One asks through LangChain, and a gateway that has OpenTelemetry's
own instrumentor: our event, our span, the gateway's span, the frameworks' spans. The other one asks
by the SDK, beside every other instrumentor that there is.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from tests import harness
from tests.collector.relaying import EVENTS, TRACES, Relay
from tests.collector.running import Collector, Process, started
from tests.e2e.ingest import COMMAND, ServeCommand, serving
from tests.e2e.launching import OTEL, TRACES_ONLY, write_distro
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply

pytestmark = pytest.mark.service

REPLY = Reply(cached_tokens=5, reasoning_tokens=3, output_tokens=20)
PROGRAMS = Path(__file__).parent / "programs"
CALLS = 6  # of both programs
# Who tells of them by spans, and of how many at least: us, the gateway, and those of the programs.
SPANS = Counter(
    {
        "tollspan": 3,
        "opentelemetry.instrumentation.genai.openai": 3,
        "openinference.instrumentation.openai": 3,
        "openinference.instrumentation.langchain": 3,
        "opentelemetry.instrumentation.langchain": 3,
    }
)
OTHERS = "anthropic,requests,urllib3,httpx,httpx2"
RULES = b"""
version: 1
budgets: [{id: all, limit: 1 USD}]
hosts: {127.0.0.1: openai}
"""


class Gateway(Process):
    """`programs/gateway.py` before a provider."""

    def words(self) -> list[str]:
        return [sys.executable, str(PROGRAMS / "gateway.py"), str(self.port)]

    @property
    def health(self) -> str:
        return self.url


class Told:
    """Two programs of one host that ask, and everybody who tells the server of it.

    Attributes:
        relay: What all of that goes through.
        agent: The Collector.

    Args:
        held: The path whose senders are held back at first.
    """

    def __init__(self, folder: Path, fake: FakeOpenAI, server: ServeCommand, held: str) -> None:
        self._fake, self._server = fake, server
        self._key = server.make_key("ingest", "read", "admin")
        self.relay = Relay(server.port, {held})
        self._ours = {"TOLLSPAN_ENDPOINT": self.relay.root_url, "TOLLSPAN_API_KEY": self._key}
        self.agent = Collector(folder / "agent", "agent", **self._ours)
        self._environ = {
            **TRACES_ONLY,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.agent.url,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        spoken = harness.environment(
            folder, fake.base_url, OTEL_SERVICE_NAME="gateway", **self._environ
        )
        (folder / "gateway").mkdir()
        self.gateway = Gateway(folder / "gateway", spoken)
        distro = write_distro(folder / "distro")
        self._environ["PYTHONPATH"] = f"{harness.ROOT}{os.pathsep}{distro}"
        self._home = folder / "host"
        self._home.mkdir()

    def put_rules(self) -> None:
        """Put the budget of both programs."""
        said = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/yaml"}
        url = f"{self._server.url}/v1/rules"
        assert requests.put(url, data=RULES, headers=said, timeout=30).status_code == 201

    def ask(self) -> None:
        """Run both programs to their ends, side by side."""
        behind = ("langchain", f"{self.gateway.url}/v1", f"{OTHERS},openai")
        beside = ("openai", self._fake.base_url, f"{OTHERS},langchain")
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._run, *zip(behind, beside, strict=True)))
        assert self._fake.hits == CALLS

    def _run(self, way: str, base_url: str, disabled: str) -> None:
        env = harness.environment(
            self._home, base_url, **self._environ, **self._ours,
            OTEL_SERVICE_NAME=way, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=disabled,
        )  # fmt: skip
        done = harness.run([*OTEL, sys.executable, str(PROGRAMS / "asking.py"), way], env)
        assert done.returncode == 0, done.stderr

    def await_spans(self) -> None:
        """Wait until the server has every span that there is."""
        wait_until(lambda: self.relay.spans >= SPANS)

    def ship(self) -> None:
        """Have the host's ledger send all that it has not sent."""
        self._tollspan("outbox", "send")

    def send_all_again(self) -> None:
        """Send every event and every span once more, in more than one way."""
        sent = len(self.relay.bodies(EVENTS))
        self._tollspan("ledger", "rebuild")
        self.ship()
        assert len(self.relay.bodies(EVENTS)) > sent
        for answer in (*self.relay.replay(EVENTS, 1), *self.relay.replay(TRACES, 2)):
            assert answer.status_code == 200, answer.text
            assert "accepted" not in answer.text

    def _tollspan(self, *words: str) -> None:
        done = harness.run([COMMAND, *words], harness.environment(self._home, "", **self._ours))
        assert done.returncode == 0, done.stderr

    def see_each_call_once(self) -> None:
        """See that the server has one posting of each call, at what the provider billed."""
        rows = self._server.ask("/v1/usage", self._key)["rows"]
        assert isinstance(rows, list)
        sums = [
            (one["calls"], int(one["cost_nanousd"]), one["suspected_duplicates"]) for one in rows
        ]
        assert sums == [(CALLS, self._fake.billed_nanousd, 0)]


@contextmanager
def told_of(folder: Path, database: str | None, held: str) -> Iterator[Told]:
    """Run all that the programs need."""
    with FakeOpenAI(REPLY) as fake, serving(folder / "server", database=database) as server:
        told = Told(folder, fake, server, held)
        told.put_rules()
        with told.relay, started(told.agent, told.gateway):
            yield told


@pytest.mark.parametrize(
    ("database", "held"),
    [
        pytest.param("SQLite", EVENTS, id="spans first, SQLite"),
        pytest.param("PostgreSQL", TRACES, id="events first, PostgreSQL"),
    ],
)
def test_a_call_told_four_ways_is_posted_once_whoever_comes_first_and_comes_again(
    tmp_path: Path, request: pytest.FixtureRequest, database: str, held: str
) -> None:
    where = request.getfixturevalue("postgres_url") if database == "PostgreSQL" else None
    with told_of(tmp_path, where, held) as told:
        told.ask()
        first, then = told.await_spans, told.ship
        if held == TRACES:
            first, then = then, first
        first()
        told.see_each_call_once()
        told.relay.held.clear()
        then()
        told.see_each_call_once()
        told.send_all_again()
        told.see_each_call_once()
