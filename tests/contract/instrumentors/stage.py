"""What the contract stands on: a fake provider, tollspan in this process, clients, the books."""

from __future__ import annotations

import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from tests import harness
from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.ways import Way
from tests.fakes.provider import FakeProvider
from tollspan.launch import Installed
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import DecisionEvent, UsageEvent

_T = TypeVar("_T")
PATIENCE_SECONDS = 5.0
TEXT = (
    "The quick brown fox jumps over the lazy dog, and then it walks home through the dark forest. "
    "Nobody knows what it was looking for in the village, but the farmers were not amused, since "
    "they had lost several of their best chickens in the course of a single week in October."
)


class Wires:
    """HTTP clients, which are shared: it takes 40 ms to make one."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, bool], Any] = {}

    def get(self, kit: Kit, way: Way) -> Any:
        """Return the HTTP client of an SDK."""
        key = (kit.package.__name__, way.is_async)
        if key not in self._made:
            name = "DefaultAsyncHttpxClient" if way.is_async else "DefaultHttpxClient"
            self._made[key] = getattr(kit.package, name)()
        return self._made[key]

    async def close(self) -> None:
        """Close them all; in the event loop that they were used in."""
        for (_, is_async), client in self._made.items():
            if is_async:
                await client.aclose()
            else:
                client.close()


class Caller:
    """Calls one surface with one client, in one way."""

    def __init__(self, kit: Kit, way: Way, client: Any) -> None:
        self.kit = kit
        self.way = way
        self.client = client
        self._surface = attrgetter(kit.resource)(client)
        self.create = self._surface.create

    async def ask(self, **more: Any) -> Any:
        """Make the call."""
        return await self.way.get(self.create(**{**self.kit.asked, **more}))

    async def stream(self, **more: Any) -> Any:
        """Make the call, streamed."""
        return await self.ask(stream=True, **more)

    async def raw(self, **more: Any) -> Any:
        """Make the call for its raw response."""
        create = self._surface.with_raw_response.create
        return await self.way.get(create(**{**self.kit.asked, **more}))

    def streaming(self, **more: Any) -> Any:
        """Make the call for a response whose body is read later: a block to enter."""
        create = self._surface.with_streaming_response.create
        return self.way.block(create(**{**self.kit.asked, **more}))

    def helper(self, **more: Any) -> Any:
        """Make the call with the SDK's helper: a block to enter."""
        assert self.kit.helper is not None
        asked = {**self.kit.asked, **self.kit.helper.asked, **more}
        place = attrgetter(self.kit.helper.resource or self.kit.resource)(self.client)
        return self.way.block(place.stream(**asked))

    async def parse(self, schema: type, **more: Any) -> Any:
        """Make the call and have the answer parsed."""
        assert self.kit.parse is not None
        asked = {**self.kit.asked, self.kit.parse.schema: schema, **more}
        place = attrgetter(self.kit.parse.resource or self.kit.resource)(self.client)
        return await self.way.get(place.parse(**asked))

    def text(self, chunks: list[Any]) -> str:
        """Return the text of chunks."""
        assert self.kit.streams is not None
        return "".join(map(self.kit.streams.piece, chunks))

    async def take(self, stream: Any, pieces: int) -> list[Any]:
        """Take so many pieces of text from a stream in a loop, and leave it."""
        assert self.kit.streams is not None
        piece = self.kit.streams.piece
        if pieces == 0:
            return []
        return await self.way.loop(
            stream, lambda taken: sum(1 for chunk in taken if piece(chunk)) == pieces
        )


class Stage:
    """One fake provider, tollspan in this process, and what was booked."""

    def __init__(
        self,
        *,
        kit: Kit,
        way: Way,
        fake: FakeProvider,
        home: Path,
        installed: Installed,
        wires: Wires,
    ) -> None:
        self.kit = kit
        self.way = way
        self.fake = fake
        self.home = home
        self.installed = installed
        self._wires = wires

    def caller(self, *, root_url: str | None = None, **options: Any) -> Caller:
        """Return a caller whose client does not retry unless told to."""
        kit, way = self.kit, self.way
        given = {
            "api_key": "key",
            "max_retries": 0,
            "http_client": self._wires.get(kit, way),
            **kit.address(root_url or self.fake.root_url),
            **options,
        }
        return Caller(kit, way, kit.clients[way.is_async](**given))

    def run(self, work: Callable[[Caller], Coroutine[Any, Any, _T]], **options: Any) -> _T:
        """Run a scenario with a caller of its own."""
        return self.way.run(work(self.caller(**options)))

    @contextmanager
    def bare(self) -> Iterator[None]:
        """Take our wrappers off for a while; what is called in the block leaves no trace."""
        for funnel in self.installed.funnels:
            funnel.remove()
        try:
            yield
        finally:
            for funnel in self.installed.funnels:
                funnel.apply()
            self.fake.wait_idle()
            self.fake.reset()

    def collect(self) -> None:
        """Have a stream that nobody holds any more collected; it takes 0.1 seconds."""
        self.settle()
        if self.open_streams:
            gc.collect()
            self.way.run(_nothing())  # an asynchronous generator is closed in its loop

    def settle(self) -> None:
        """Wait until whatever was put off is done."""
        self.installed.lifecycle.worker.drain(PATIENCE_SECONDS)

    def events(self) -> list[UsageEvent]:
        """Return what was booked, in order of arrival."""
        self.settle()
        return harness.usage_events(self.home)

    def denials(self) -> list[DecisionEvent]:
        """Return what was refused."""
        self.settle()
        self.installed.ledger.close()  # what its writer was handed is written
        return harness.denials(self.home)

    def event(self) -> UsageEvent:
        """Return the one event, and see that its hold is gone and its charge is in the account."""
        (event,) = self.events()
        assert self.open_streams == 0
        balance = harness.balance(self.home)
        assert balance.held == 0
        assert balance.posted == sum(one.posted for one in event.charges)
        assert balance.unresolved == sum(one.unresolved for one in event.charges)
        assert event.cost.amount_nanousd in (None, balance.posted)
        request = event.call.request
        assert (request.provider, request.operation) == (self.kit.provider, self.kit.operation)
        return event

    def priced_event(self) -> UsageEvent:
        """Return the one event of a call that ended well and costs what the provider bills."""
        event = self.event()
        assert (event.outcome.status, event.outcome.error_type) == ("ok", None)
        assert event.usage is not None
        assert event.usage.status == "reported"
        assert event.cost.status == "priced"
        assert self.fake.wait_idle()
        assert event.cost.amount_nanousd == self.fake.billed_nanousd > 0
        assert sum(one.unresolved for one in event.charges) == 0
        return event

    def sightings(self) -> dict[str, int]:
        """Return what was seen passing the gate, and how often."""
        self.settle()
        self.installed.ledger.close()  # what its writer was handed is written
        return {
            one.name: one.count
            for one in LedgerReader(self.home / LEDGER_FILE).sightings()
            if one.kind != "imported_before_install"
        }

    @property
    def open_streams(self) -> int:
        """How many streams have no end yet."""
        return len(self.installed.lifecycle.open_streams)


@contextmanager
def open_stage(
    kit: Kit,
    way: Way,
    wires: Wires,
    folder: Path,
    *,
    limit: str = "100",
    budgets: str | None = None,
) -> Iterator[Stage]:
    """Set everything up for one test, and take it down."""
    home = folder / "home"
    hosts = dict.fromkeys(("127.0.0.1", "nowhere.invalid"), kit.provider)
    with (
        kit.fake() as fake,
        harness.installed(home, limit=limit, budgets=budgets, hosts=hosts) as installed,
    ):
        yield Stage(kit=kit, way=way, fake=fake, home=home, installed=installed, wires=wires)


async def _nothing() -> None:
    """Give an event loop a turn."""
