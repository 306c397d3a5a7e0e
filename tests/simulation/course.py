"""The course of a simulated life, whatever lives: faults by chance, limits that change, an end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, MutableMapping, Sequence
from functools import partial
from typing import Protocol

from tests.simulation.rules import NARROW, Rules
from tests.simulation.world import LawBrokenError, World


class Counting(Protocol):
    """Who remembers the highest limit that each budget ever had."""

    @property
    def highest(self) -> MutableMapping[str, int]:
        """It, by budget."""


class Living(Protocol):
    """A process, as far as it matters here.

    Attributes:
        is_ending: It makes no more calls.
    """

    is_ending: bool


class Course(ABC):
    """A life that goes on by chance until it is brought to its end.

    Attributes:
        world: Its clock and its chance.
        rules: The limits in force.
        is_ending: Nothing more goes wrong.

    Args:
        world: As above.
        mean: What a call costs in the mean.
        calls_that_fit: How many of them the tightest budget has room for.
    """

    def __init__(self, world: World, *, mean: int, calls_that_fit: int) -> None:
        self.world = world
        self.is_ending = False
        tightest = mean * calls_that_fit
        limits = {name: int(tightest * world.chance.uniform(1, 4)) for name in NARROW}
        limits["calls"] = calls_that_fit * 3
        limits["org"] = tightest * 4
        self.rules = Rules(limits, mean)

    @property
    @abstractmethod
    def counting(self) -> Counting:
        """Who hears of limits."""

    @property
    @abstractmethod
    def processes(self) -> Sequence[Living]:
        """Those that live, and don't just end."""

    def again_and_again(self, rate: float, fault: Callable[[], object]) -> None:
        """Have something go wrong so often in a second, until the end."""

        def happen() -> None:
            if not self.is_ending:
                self.world.at(self.world.chance.expovariate(rate), happen)
                fault()

        self.world.at(self.world.chance.expovariate(rate), happen)

    def live(self, seconds: float) -> None:
        """Let everything go on for so long; whatever is late by then begins nothing more.

        Where many wait for one thing, time goes by while they do: what is due is behind it, and
        more would be due with each of them, without end.
        """
        self.world.at(seconds, self._begin_to_end)
        self.world.wait(seconds)
        self._begin_to_end()

    def _begin_to_end(self) -> None:
        self.is_ending = True
        for process in self.processes:
            process.is_ending = True

    def announce(self, rules: Rules) -> None:
        """Put other rules in force."""
        self.rules = rules
        highest = self.counting.highest
        for name, limit in rules.limits.items():
            highest[name] = max(highest[name], limit)

    def change_a_limit(self) -> None:
        """Lower or raise a limit; processes hear of it by and by."""
        chance = self.world.chance
        name = chance.choice(list(self.rules.limits))
        self.announce(self.rules.changed(name, chance.choice([0.0, 0.5, 0.9, 1.1, 2.0])))
        if self.rules.limits[name] == 0:
            self.world.at(1.0, partial(self._restore_limit, name))
        self.world.happens("the limit of %s is %s", name, self.rules.limits[name])
        for process in self.processes:
            self.world.at(chance.uniform(0, 1), partial(setattr, process, "rules", self.rules))

    def _restore_limit(self, name: str) -> None:
        limit = self.counting.highest[name]
        self.announce(Rules({**self.rules.limits, name: limit}, self.rules.mean))

    def until(self, is_done: Callable[[], bool], step: Callable[[], None]) -> None:
        """Do something again and again, a second between, until it is done.

        Raises:
            LawBrokenError: It never is.
        """
        for _ in range(100):
            if is_done():
                return
            step()
            self.world.wait(1.0)
        raise LawBrokenError("it comes to no end")


def failure(course: Course, error: Exception, *, seed: int, plan: object, module: str) -> str:
    """Say how a life went that broke a law, and how to live through it again."""
    world = course.world
    return (
        f"seed {seed}, after {world.steps} steps, {world.now:.3f} s: {error!r}\n"
        f"{world.told()}\n{plan}\nreplay: .venv/bin/python -m {module} {seed}"
    )
