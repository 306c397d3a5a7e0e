"""Turns: never more of one name at once, in order, and nothing left behind."""

from __future__ import annotations

import asyncio

import pytest

from tollspan.server.pressure.turns import NoTurnError, Turns


def test_of_one_name_never_more_have_a_turn_than_may_and_others_do_not_wait_for_it() -> None:
    async def main() -> None:
        turns = Turns(at_once=2, seconds=30)
        at_work, most, order = 0, 0, list[int]()
        others = asyncio.Event()

        async def work(number: int) -> None:
            nonlocal at_work, most
            async with turns.turn("a"):
                order.append(number)
                at_work += 1
                most = max(most, at_work)
                await others.wait()
                at_work -= 1

        tasks = [asyncio.create_task(work(number)) for number in range(20)]
        await asyncio.sleep(0)
        async with turns.turn("b"):
            others.set()
        await asyncio.gather(*tasks)
        assert most == 2
        assert order == list(range(20))
        assert len(turns) == 0

    asyncio.run(main())


def test_who_waits_too_long_is_told_and_takes_nobodys_turn() -> None:
    async def main() -> None:
        turns = Turns(at_once=1, seconds=0.01)
        async with turns.turn("a"):
            with pytest.raises(NoTurnError):
                async with turns.turn("a"):
                    pass
        async with turns.turn("a"):
            pass
        assert len(turns) == 0

    asyncio.run(main())


def test_who_goes_away_while_waiting_leaves_the_turn_to_the_next() -> None:
    async def main() -> None:
        turns = Turns(at_once=1, seconds=30)
        done = asyncio.Event()

        async def work() -> None:
            async with turns.turn("a"):
                done.set()

        async with turns.turn("a"):
            first, second = asyncio.create_task(work()), asyncio.create_task(work())
            await asyncio.sleep(0)
            first.cancel()
        await asyncio.wait_for(second, 30)
        assert done.is_set()
        assert len(turns) == 0

    asyncio.run(main())
