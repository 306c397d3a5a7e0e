"""Spans as real instrumentors send them, over real SDKs: each call once, at its price."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeAnthropic, FakeOpenAI, Reply
from tests.integration.foreign.programs import CALLS, FAMILIES
from tests.serving import RunningServer, running_server

REPLY = Reply(cached_tokens=5, reasoning_tokens=3)
OPENAI = ("openai chat", "openai stream", "openai async", "openai responses", "openai embeddings")
ANTHROPIC = ("anthropic messages", "anthropic stream")
LANGCHAIN = ("langchain invoke", "langchain stream", "langchain async")
OPENING = """
import asyncio, warnings
warnings.simplefilter("ignore")
from importlib import import_module
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

provider = TracerProvider()
provider.add_span_processor(PROCESSOR(OTLPSpanExporter()))
trace.set_tracer_provider(provider)
INSTALL
for where in INSTRUMENTORS:
    module, _, name = where.partition(":")
    getattr(import_module(module), name)().instrument(skip_dep_check=True)
def attempt(work):
    work()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    home: Path = tmp_path_factory.mktemp("server")
    with running_server(f"sqlite:{home / 'central.db'}") as running:
        yield running


def run(
    home: Path,
    server: RunningServer,
    base_url: str,
    *calls: str,
    families: tuple[str, ...],
    one_by_one: bool = False,
    install: bool = False,
) -> str:
    """Make calls in a program whose spans go to the server; return the key of its tenant.

    Args:
        home: Of the program.
        server: Where its spans go.
        base_url: Of the fake provider.
        calls: Keys of `CALLS`.
        families: Keys of `FAMILIES`.
        one_by_one: Each span is sent by itself as it ends; else all at the end.
        install: tollspan is in the program, and sends its events too.
    """
    of = {call.partition(" ")[0] for call in calls}
    of |= {"openai"} if "langchain" in of else set()
    where = [place for family in families for sdk, place in FAMILIES[family].items() if sdk in of]
    key = server.make_key(home.name.replace("_", "-").lower()[:60])
    opening = OPENING.replace("INSTRUMENTORS", repr(where))
    opening = opening.replace("PROCESSOR", f"{'Simple' if one_by_one else 'Batch'}SpanProcessor")
    installs = "from tollspan.api import install; install()" if install else ""
    code = opening.replace("INSTALL", installs)
    code += "".join(CALLS[call] for call in calls) + "\nprovider.shutdown()\n"
    shipping = {
        "TOLLSPAN_ENDPOINT": server.url,
        "TOLLSPAN_API_KEY": key,
        "TOLLSPAN_COLD_START": "allow",
    }
    environ = harness.environment(
        home,
        base_url,
        ANTHROPIC_BASE_URL=base_url.removesuffix("/v1"),
        ANTHROPIC_API_KEY="sk-test",
        OTEL_EXPORTER_OTLP_ENDPOINT=server.url,
        OTEL_EXPORTER_OTLP_HEADERS=f"Authorization=Bearer%20{key}",
        OTEL_SERVICE_NAME="web",
        **(shipping if install else {}),
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ, capture_output=True, text=True, timeout=90, check=False, cwd=home,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return key


def sums(server: RunningServer, key: str) -> tuple[int, int, int]:
    """How many calls a tenant has, what they cost together, and how many are suspected."""
    (row,) = server.ask("GET", "/v1/usage?from=2020-01-01T00:00:00Z", key=key).json["rows"]
    return row["calls"], int(row["cost_nanousd"]), row["suspected_duplicates"]


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "at once"])
@pytest.mark.parametrize(
    "families",
    [
        ("official",),
        ("openllmetry",),
        ("openinference",),
        ("official", "openllmetry", "openinference"),
    ],
    ids="+".join,
)
def test_calls_of_openai_are_counted_once_at_their_price(
    tmp_path: Path, server: RunningServer, families: tuple[str, ...], one_by_one: bool
) -> None:
    with FakeOpenAI(REPLY) as fake:
        key = run(
            tmp_path, server, fake.base_url, *OPENAI, families=families, one_by_one=one_by_one
        )
        assert sums(server, key) == (5, fake.billed_nanousd, 0)


@pytest.mark.parametrize("family", ["official", "openllmetry", "openinference", "native"])
def test_calls_of_anthropic_are_counted_once_at_their_price(
    tmp_path: Path, server: RunningServer, family: str
) -> None:
    with FakeAnthropic(Reply(cached_tokens=4)) as fake:
        key = run(tmp_path, server, fake.base_url, *ANTHROPIC, families=(family,), one_by_one=True)
        assert sums(server, key) == (2, fake.billed_nanousd, 0)


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "at once"])
@pytest.mark.parametrize("family", ["official", "openllmetry", "openinference"])
def test_a_framework_over_an_sdk_is_one_call(
    tmp_path: Path, server: RunningServer, family: str, one_by_one: bool
) -> None:
    with FakeOpenAI(REPLY) as fake:
        key = run(
            tmp_path, server, fake.base_url, *LANGCHAIN,
            families=(family, f"langchain, {family}"), one_by_one=one_by_one,
        )  # fmt: skip
        assert sums(server, key) == (3, fake.billed_nanousd, 0)


@pytest.mark.parametrize("one_by_one", [True, False], ids=["one by one", "at once"])
@pytest.mark.parametrize("calls", [OPENAI, LANGCHAIN], ids=["OpenAI", "LangChain"])
def test_a_program_that_sends_events_and_spans_has_each_call_once(
    tmp_path: Path, server: RunningServer, calls: tuple[str, ...], one_by_one: bool
) -> None:
    harness.write_rules(tmp_path, budgets="{id: all, limit: 100 USD}")
    families = ("openinference", "langchain, openinference", "official")
    with FakeOpenAI(REPLY) as fake:
        key = run(
            tmp_path, server, fake.base_url, *calls,
            families=families, one_by_one=one_by_one, install=True,
        )  # fmt: skip
        assert sums(server, key) == (len(calls), fake.billed_nanousd, 0)
        query = "/v1/events?kind=usage&limit=100"
        found = server.ask("GET", query, key=key).json["events"]
    doors = [one["data"]["call"].get("door", "instrumentor") for one in found]
    assert doors.count("instrumentor") == len(calls)
