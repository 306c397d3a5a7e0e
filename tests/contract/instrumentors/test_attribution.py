"""Who pays for a call: on its event and its span, and nowhere at the provider."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from opentelemetry import baggage
from opentelemetry.context import attach, detach
from opentelemetry.propagate import inject
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests import harness
from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import kits, representative, streaming
from tests.contract.instrumentors.stage import TEXT, Caller, Stage, Wires
from tests.contract.instrumentors.ways import Way
from tests.fakes import Reply
from tollspan.api import BudgetExceededError, attribution
from tollspan.attribution import Baggage, use_baggage
from tollspan.safety import internal_errors
from tollspan.usage import Attribution

native = kits(lambda kit: kit.has_native_spans)
ACME: dict[str, Any] = {
    "customer": "acme",
    "session": "s",
    "user": "u",
    "agent": "a",
    "feature": "f",
    "step": "p",
    "team": "t",
    "project": "j",
    "tags": {"tier": "free", "region": "eu"},
}
ATTRIBUTES = {
    "tollspan.customer.id": "acme",
    "session.id": "s",
    "user.id": "u",
    "gen_ai.agent.name": "a",
    "tollspan.feature": "f",
    "tollspan.step": "p",
    "tollspan.team": "t",
    "tollspan.project": "j",
    "tollspan.tag.region": "eu",
    "tollspan.tag.tier": "free",
}


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    """Count errors from zero."""
    internal_errors.clear()
    yield
    internal_errors.clear()


def sent(stage: Stage) -> str:
    """Return all that the provider was sent last: headers and body."""
    request = stage.fake.requests[-1]
    return json.dumps([dict(request.headers), request.json])


@contextlib.contextmanager
def outer_baggage(**entries: str) -> Iterator[None]:
    """Have baggage of somebody else's around."""
    context = None
    for name, value in entries.items():
        context = baggage.set_baggage(name, value, context)
    assert context is not None
    token = attach(context)
    try:
        yield
    finally:
        detach(token)


def test_a_block_is_on_the_event_and_on_the_span(stage: Stage, spans: InMemorySpanExporter) -> None:
    async def work(caller: Caller) -> None:
        with attribution(**ACME):
            await caller.ask()

    stage.run(work)
    expected = Attribution(**{**ACME, "tags": (("region", "eu"), ("tier", "free"))})
    assert stage.priced_event().call.attribution == expected
    (span,) = spans.get_finished_spans()
    found = dict(span.attributes or {})
    assert {name: found.get(name) for name in ATTRIBUTES} == ATTRIBUTES
    assert "acme" not in sent(stage)


@native
def test_a_block_is_on_the_sdks_own_span(stage: Stage, all_spans: InMemorySpanExporter) -> None:
    async def work(caller: Caller) -> None:
        with attribution(**ACME):
            await caller.ask()

    stage.run(work)
    (span,) = all_spans.get_finished_spans()
    assert ATTRIBUTES.items() <= dict(span.attributes or {}).items()


def test_a_refusal_is_attributed(poor: Stage, spans: InMemorySpanExporter) -> None:
    async def work(caller: Caller) -> None:
        with attribution(customer="acme"), pytest.raises(BudgetExceededError):
            await caller.ask(extra_body={"tollspan": {"tags": {"tier": "free"}}})

    poor.run(work)
    (denial,) = poor.denials()
    assert denial.call.attribution == Attribution(customer="acme", tags=(("tier", "free"),))
    (span,) = spans.get_finished_spans()
    assert (span.attributes or {})["tollspan.tag.tier"] == "free"


@pytest.mark.parametrize("kind", ["whole", "stream", "raw", "helper"])
@representative
def test_one_call_may_say_who_pays_itself(stage: Stage, kind: str) -> None:
    body = {"tollspan": {"customer": "own", "tags": {"tier": "pro"}, "user": None}, "top_k": 5}
    before = json.dumps(body)

    async def work(caller: Caller) -> None:
        with attribution(customer="acme", user="u", tags={"tier": "free", "region": "eu"}):
            if kind == "stream":
                await caller.way.loop(await caller.stream(extra_body=body))
            elif kind == "raw":
                await caller.raw(extra_body=body)
            elif kind == "helper":
                async with caller.helper(extra_body=body) as made:
                    await caller.way.loop(made)
            else:
                await caller.ask(extra_body=body)

    stage.run(work)
    assert stage.event().call.attribution == Attribution(
        customer="own", user="u", tags=(("region", "eu"), ("tier", "pro"))
    )
    assert "tollspan" not in sent(stage)
    assert '"top_k": 5' in sent(stage)
    assert json.dumps(body) == before
    assert internal_errors == {}


@pytest.mark.parametrize(
    ("said", "wrong"),
    [
        pytest.param({"customer": ""}, 1, id="empty"),
        pytest.param({"customer": 7, "user": "x" * 257}, 2, id="a number and too long"),
        pytest.param({"tags": {"a b": "x", "t": "\n"}}, 2, id="tags"),
        pytest.param({"tags": ["a"]}, 1, id="tags that are none"),
        pytest.param({"cutsomer": "x"}, 1, id="a slip of the pen"),
        pytest.param({"input_reserve_tokens": -1}, 1, id="a reserve"),
    ],
)
@representative
def test_a_wrong_value_costs_the_call_nothing_and_the_rest_applies(
    stage: Stage, said: dict[str, Any], wrong: int
) -> None:
    async def work(caller: Caller) -> None:
        with attribution(customer="acme"):
            await caller.ask(extra_body={"tollspan": {"step": "own", **said}})

    stage.run(work)
    assert stage.priced_event().call.attribution == Attribution(customer="acme", step="own")
    assert "tollspan" not in sent(stage)
    assert sum(internal_errors.values()) == wrong
    assert {place for place, _ in internal_errors} == {"instrumentation.extra_body"}


@streaming
@pytest.mark.parametrize("end", ["drained", "closed elsewhere", "abandoned"])
def test_a_stream_is_paid_by_whom_its_call_was_attributed_to(stage: Stage, end: str) -> None:
    stage.fake.script.default = Reply(text=TEXT)

    async def work(caller: Caller) -> None:
        with attribution(customer="acme"):
            stream = await caller.stream()
        with attribution(customer="other"):
            if end == "drained":
                await caller.way.loop(stream)
                return
            await caller.take(stream, 3)
            if end == "closed elsewhere" and not stage.way.is_async:
                thread = threading.Thread(target=stream.close)
                thread.start()
                thread.join(10)
            elif end == "closed elsewhere":
                await stream.close()

    stage.run(work)
    stage.collect()
    assert stage.event().call.attribution.customer == "acme"


class Outgoing:
    """An HTTP client that notes what it sends; it sends the context along if it is told to."""

    def __init__(self, stage: Stage, *, injects: bool) -> None:
        self._injects = injects
        self._way = stage.way
        self.requests: list[Any] = []
        kinds = stage.kit.package
        kind = kinds.DefaultAsyncHttpxClient if stage.way.is_async else kinds.DefaultHttpxClient
        hook = self._see_later if stage.way.is_async else self._see
        self.client = kind(event_hooks={"request": [hook]})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._way.run(self._close())

    async def _close(self) -> None:
        await self._way.get(self.client.aclose() if self._way.is_async else self.client.close())

    def _see(self, request: Any) -> None:
        if self._injects:
            inject(request.headers)
        self.requests.append(request)

    async def _see_later(self, request: Any) -> None:
        self._see(request)


WRITING: dict[str, Any] = {
    "secret": "s" * 16,
    "dimensions": ("customer",),
    "reads": False,
    "writes": True,
}


@representative
def test_what_is_not_gated_says_nothing_of_ours_to_the_provider(stage: Stage) -> None:
    use_baggage(Baggage(**WRITING))

    async def work(caller: Caller) -> None:
        asked: Any = {
            "cast_to": object,
            "body": {"a": 1},
            "options": {"extra_json": {"tollspan": {"customer": "own"}, "b": 2}},
        }
        refused = pytest.raises(stage.kit.package.NotFoundError)
        with outer_baggage(theirs="x"), attribution(customer="acme"), refused:
            await caller.way.get(caller.client.post("/elsewhere", **asked))

    with Outgoing(stage, injects=True) as outgoing:
        stage.run(work, http_client=outgoing.client)
    (request,) = outgoing.requests
    assert json.loads(request.content) == {"a": 1, "b": 2}
    assert request.headers["baggage"] == "theirs=x"


@pytest.mark.parametrize("setting", ["write", "off"])
@pytest.mark.parametrize("kind", ["whole", "stream"])
@pytest.mark.parametrize("spanned", [True, False], ids=["span", "no span"])
@representative
def test_no_entry_of_ours_in_the_baggage_reaches_a_provider(
    stage: Stage, kind: str, setting: str, request: pytest.FixtureRequest, *, spanned: bool
) -> None:
    if spanned:
        request.getfixturevalue("all_spans")
    if setting == "write":
        use_baggage(Baggage(**WRITING))
    seen: list[object] = []

    async def work(caller: Caller) -> None:
        # What a service before us wrote, and what is somebody else's.
        before_us = outer_baggage(**{"tollspan.session": "sealed", "theirs": "x"})
        with before_us, attribution(customer="acme"):
            if kind == "stream":
                await caller.way.loop(await caller.stream())
            else:
                await caller.ask()
            seen.extend(baggage.get_all())

    if kind == "stream" and stage.kit.streams is None:
        pytest.skip("no streams")
    with Outgoing(stage, injects=True) as outgoing:
        stage.run(work, http_client=outgoing.client)
    (sent_request,) = outgoing.requests
    assert sent_request.headers["baggage"] == "theirs=x"
    assert ("tollspan.customer" in seen) is (setting == "write")
    assert "tollspan.session" in seen
    assert stage.event().call.attribution.customer == "acme"


@native
@pytest.mark.parametrize("call", ["create", "count_tokens"])
def test_the_sdks_own_propagation_carries_others_baggage_alone(
    stage: Stage, all_spans: InMemorySpanExporter, call: str
) -> None:
    use_baggage(Baggage(**WRITING))

    async def work(caller: Caller) -> None:
        asked = {name: caller.kit.asked[name] for name in ("model", "messages")}
        with outer_baggage(theirs="x"), attribution(customer="acme"):
            if call == "create":
                await caller.ask()
            else:  # the fake knows no such path; what is sent is the same
                with contextlib.suppress(stage.kit.package.NotFoundError):
                    await caller.way.get(caller._surface.count_tokens(**asked))

    with Outgoing(stage, injects=False) as outgoing:
        stage.run(work, http_client=outgoing.client)
    (request,) = outgoing.requests
    assert request.headers["baggage"] == "theirs=x"


@representative
def test_inbound_baggage_says_who_pays_only_where_it_is_to_be_read(
    kit: Kit, way: Way, wires: Wires, tmp_path: Path
) -> None:
    secret = "sixteen characters and more"
    sealed = Baggage(secret=secret, dimensions=("customer",), reads=True, writes=False).seal(
        "tollspan.customer", "acme"
    )

    async def work(caller: Caller) -> None:
        with outer_baggage(**{"tollspan.customer": sealed}):
            await caller.ask()

    for mode, expected in (("off", None), ("write", None), ("read", "acme"), ("both", "acme")):
        home = tmp_path / mode
        env = {"TOLLSPAN_BAGGAGE": mode, "TOLLSPAN_BAGGAGE_SECRET": secret}
        hosts = {"127.0.0.1": kit.provider}
        with kit.fake() as fake, harness.installed(home, hosts=hosts, **env) as installed:
            stage = Stage(kit=kit, way=way, fake=fake, home=home, installed=installed, wires=wires)
            stage.run(work)
            assert stage.event().call.attribution.customer == expected
