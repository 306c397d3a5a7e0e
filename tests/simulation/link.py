"""The network between a process and the authority: slow, lossy, repeating, cut one way or both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from tests.simulation.world import Killed, World
from tollspan.budget import (
    BUSY,
    Account,
    Balance,
    Busy,
    GivenBack,
    Grant,
    Lease,
    Refusal,
    Settlement,
    Touch,
    Want,
)
from tollspan.usage import LedgerError, LedgerUnavailableError

Answer = TypeVar("Answer")


class Far(Protocol):
    """The authority as it is reached at the other end of a network, watched."""

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal: ...

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None: ...

    def settle(self, settlements: Sequence[Settlement]) -> None: ...

    def touch(self, touch: Touch) -> str: ...

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]: ...


class Link:
    """A lessor as one process sees it.

    Args:
        world: Time and chance.
        far: What answers.
        is_alive: Whether the process still lives.
        loss, slow: As in `Plan`.
        wait_seconds: How long it waits for an answer.
    """

    def __init__(
        self,
        world: World,
        far: Far,
        is_alive: Callable[[], bool],
        *,
        loss: float,
        slow: float,
        wait_seconds: float,
    ) -> None:
        self._world = world
        self._far = far
        self._is_alive = is_alive
        self._loss = loss
        self._slow = slow
        self._wait_seconds = wait_seconds
        self.is_cut_out = self.is_cut_in = False

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        return self._ask(partial(self._far.grant, lease, tuple(wants)))

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:
        if self._world.is_likely(0.5):
            return BUSY
        return self.grant(lease, wants)

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        return self._ask(partial(self._far.give_back, lease, tuple(parts)))

    def settle(self, settlements: Sequence[Settlement]) -> None:
        self._ask(partial(self._far.settle, tuple(settlements)))

    def touch(self, touch: Touch) -> str:
        return self._ask(partial(self._far.touch, touch))

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        return self._ask(partial(self._far.balances, tuple(accounts)))

    def mend(self) -> None:
        """Lose nothing any more."""
        self._loss = self._slow = 0.0
        self.is_cut_out = self.is_cut_in = False

    def _ask(self, message: Callable[[], Answer]) -> Answer:
        """Send a message and wait for its answer.

        Raises:
            LedgerUnavailableError: No answer came in time.
            Killed: The process died while it waited.
        """
        world = self._world
        chance = world.chance
        if self.is_cut_out or world.is_likely(self._loss):
            if world.is_likely(0.5):  # it was only late
                world.at(chance.uniform(0.3, 8), partial(_late, world, message))
            self._give_up("the request was lost")
        if world.is_likely(self._loss):  # a copy of it comes later
            world.at(chance.uniform(0.01, 8), partial(_late, world, message))
        is_slow = world.is_likely(self._slow)
        way = self._wait_seconds * (chance.uniform(0.3, 0.6) if is_slow else 0.01)
        asked_at = world.now
        world.wait(way)
        answer: Answer | None = None
        error: LedgerError | None = None
        try:
            answer = message()
        except LedgerError as raised:
            error = raised
        if self.is_cut_in or 2 * way > self._wait_seconds or world.is_likely(self._loss):
            self._give_up("the answer was lost")
        world.wait(way)
        if world.now - asked_at > self._wait_seconds and world.is_likely(0.7):
            self._give_up("the answer came too late")  # else the thread stood still, not the net
        if not self._is_alive():
            raise Killed
        if error is not None:
            raise error
        return answer  # type: ignore[return-value]  # None is an answer too

    def _give_up(self, why: str) -> None:
        self._world.happens("    %s", why)
        self._world.wait(self._wait_seconds)
        if not self._is_alive():
            raise Killed
        raise LedgerUnavailableError(why)


def _late(world: World, message: Callable[[], object]) -> None:
    """Do what a message says, late, and with nobody who listens."""
    world.happens("    a message comes late or again")
    try:
        message()
    except LedgerError as error:
        world.happens("    ... %s", error)
