"""Which agents are around: those of the blocks on the way, wherever it leads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from tollspan.attribution import agents, attribution, bind, set_default
from tollspan.usage import Attribution


@pytest.fixture(autouse=True)
def nobody() -> Iterator[None]:
    """Leave no default behind."""
    yield
    set_default(Attribution())


def test_outside_of_all_blocks_there_is_none() -> None:
    assert agents() == ()
    with attribution(customer="acme"):
        assert agents() == ()


def test_blocks_nest_agents_outermost_first_and_leaving_one_leaves_its_agent() -> None:
    with attribution(agent="planner"), attribution(customer="acme"), attribution(agent="coder"):
        assert agents() == ("planner", "coder")
        with attribution(agent="planner"):
            assert agents() == ("planner", "coder", "planner")
        assert agents() == ("planner", "coder")
    assert agents() == ()


def test_an_agent_that_is_said_again_is_no_deeper() -> None:
    with attribution(agent="a"), attribution(agent="a", step="1"), attribution(agent="a"):
        assert agents() == ("a",)


def test_the_process_itself_may_be_an_agent() -> None:
    set_default(Attribution(agent="service"))
    assert agents() == ("service",)
    with attribution(agent="service"):
        assert agents() == ("service",)
    with attribution(agent="coder"):
        assert agents() == ("service", "coder")


def test_agents_are_carried_into_threads_tasks_and_generators() -> None:
    found: list[tuple[str, ...]] = []

    @attribution(agent="inner")
    def items() -> Iterator[tuple[str, ...]]:
        yield agents()
        yield agents()

    async def work() -> None:
        with attribution(agent="inner"):
            found.append(await asyncio.create_task(look()))

    async def look() -> tuple[str, ...]:
        return agents()

    with attribution(agent="outer"), attribution(agent="middle"):
        thread = threading.Thread(target=bind(lambda: found.append(agents())))
        asyncio.run(work())
        found += items()
    thread.start()
    thread.join()
    assert found == [("outer", "middle", "inner")] * 3 + [("outer", "middle")]


def test_agents_that_call_each_other_for_ever_take_no_memory_for_ever() -> None:
    def nest(depth: int) -> int:
        with attribution(agent=str(depth % 2)):
            return len(agents()) if depth == 0 else nest(depth - 1)

    assert nest(30) == 31

    async def chain(left: int) -> int:
        with attribution(agent=str(left % 2)):
            if left == 0:
                return len(agents())
            return await asyncio.create_task(chain(left - 1))

    assert asyncio.run(chain(1_200)) == 1_001
