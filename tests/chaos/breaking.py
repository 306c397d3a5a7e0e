"""Breaks things of a world as planned, and makes them whole again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e.disks import fill
from tests.e2e.ingest import ServeCommand
from tests.services import Server, ServerError

from .plan import CLOCKS, Fault, Kind
from .world import WORKERS, World

_AGAIN_SECONDS = 0.5
Mend = Callable[[], bool]
"""Makes whole what was broken, and says whether it is; a server may have to be started again."""


class Breaker:
    """Goes through a plan; what is started again is waited for by a thread of its own.

    Args:
        world: What is broken.
        say: Is told what happens, in a line.
    """

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self._world = world
        self._say = say
        self._down: set[object] = set()
        self._ways: dict[Kind, Callable[[Fault], Mend]] = {
            Kind.WORKER: self._kill_worker,
            Kind.SERVER: self._kill_ingest,
            Kind.COLLECTOR: lambda _: self._kill(world.agent, _start(world.agent)),
            Kind.REDIS: lambda _: self._kill(world.redis, _start(world.redis)),
            Kind.POSTGRES: lambda _: self._kill(world.postgres, _start(world.postgres)),
            Kind.HOST_DISK: lambda fault: _fill(world.homes[fault.place]),
            Kind.QUEUE_DISK: lambda _: _fill(world.queue),
            Kind.LOST_ANSWER: self._lose_answer,
            **dict.fromkeys(CLOCKS, self._move_clock),
        }

    def run(self, faults: Sequence[Fault]) -> None:
        """Break and mend until all is whole again."""
        began = time.monotonic()
        with ThreadPoolExecutor(len(faults)) as pool:
            mending = []
            for fault in faults:
                time.sleep(max(0.0, began + fault.at_seconds - time.monotonic()))
                self._say(fault.text)
                mend = self._ways[fault.kind](fault)
                mending.append(pool.submit(_mend_after, fault.lasts_seconds, mend))
            for one in mending:
                one.result()

    # -- what differs --

    def _kill_worker(self, fault: Fault) -> Mend:
        number, place = divmod(fault.place, WORKERS)
        self._world.fleets[number].replace(place)
        return _is_whole

    def _kill_ingest(self, fault: Fault) -> Mend:
        server = self._world.servers[fault.place]
        return self._kill(server, lambda: server.url in server.start())

    def _kill(self, server: Server | ServeCommand, start: Mend) -> Mend:
        if server in self._down:  # it did not come up again yet
            return _is_whole
        server.kill()
        self._down.add(server)

        def mend() -> bool:
            if start():
                self._down.remove(server)
            return server not in self._down

        return mend

    def _lose_answer(self, fault: Fault) -> Mend:
        self._world.balancer.when_answered = _is_whole
        return _is_whole

    def _move_clock(self, fault: Fault) -> Mend:
        name = {Kind.REDIS_CLOCK: "redis", Kind.POSTGRES_CLOCK: "postgres"}.get(fault.kind)
        what = "host" if fault.kind is Kind.HOST_CLOCK else "server"
        clock = self._world.clocks[name or f"{what}-{fault.place}"]
        clock.move(fault.by_seconds)

        def mend() -> bool:
            clock.move(0)
            return True

        return mend


def _mend_after(seconds: float, mend: Mend) -> None:
    time.sleep(seconds)
    while not mend():
        time.sleep(_AGAIN_SECONDS)


def _is_whole() -> bool:
    return True


def _start(server: Server) -> Mend:
    def start() -> bool:
        try:
            server.start()
        except ServerError:
            return False
        return True

    return start


def _fill(folder: Path) -> Mend:
    path = fill(folder)

    def mend() -> bool:
        path.unlink(missing_ok=True)
        return True

    return mend
