"""What goes wrong in a run, and when: a seed decides."""

from __future__ import annotations

import random
from collections.abc import Collection
from enum import StrEnum

import msgspec

MOST_AHEAD_SECONDS = 7_200
"""No clock is moved by more."""
_EVERY_SECONDS = 5.0
_SHORTEST_SECONDS, _LONGEST_SECONDS = 1.0, 15.0


class Kind(StrEnum):
    """A kind of fault."""

    WORKER = "SIGKILL of a worker"
    SERVER = "SIGKILL of a server"
    COLLECTOR = "SIGKILL of the Collector"
    REDIS = "SIGKILL of Redis"
    POSTGRES = "SIGKILL of PostgreSQL"
    HOST_DISK = "full disk of a host"
    QUEUE_DISK = "full disk of the Collector"
    HOST_CLOCK = "clock jump of a host"
    SERVER_CLOCK = "clock jump of a server"
    REDIS_CLOCK = "clock jump of Redis"
    POSTGRES_CLOCK = "clock jump of PostgreSQL"
    LOST_ANSWER = "lost answer to a batch"


PLACES = {
    Kind.WORKER: 4,
    Kind.SERVER: 2,
    Kind.HOST_DISK: 2,
    Kind.HOST_CLOCK: 2,
    Kind.SERVER_CLOCK: 2,
}
"""How many things a kind may befall, where it is more than one."""
CLOCKS = frozenset(kind for kind in Kind if kind.name.endswith("_CLOCK"))
DISKS = frozenset(kind for kind in Kind if kind.name.endswith("_DISK"))


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes wrong.

    Attributes:
        at_seconds: When, from the beginning of the run.
        kind: What.
        place: Which of those that it may befall.
        lasts_seconds: Until what was killed is started again, or what was changed is as before.
        by_seconds: By how much a clock is moved.
    """

    at_seconds: float
    kind: Kind
    place: int
    lasts_seconds: float
    by_seconds: int = 0

    @property
    def ends_at_seconds(self) -> float:
        """When it is over."""
        return self.at_seconds + self.lasts_seconds

    @property
    def text(self) -> str:
        """Say it in a line."""
        where = f" {self.place + 1}" if self.kind in PLACES else ""
        how = f" by {self.by_seconds:+,} s" if self.by_seconds else ""
        return f"{self.kind}{where}{how}, for {self.lasts_seconds:.1f} s"


def plan(seed: int, seconds: float, *, without: Collection[Kind] = ()) -> tuple[Fault, ...]:
    """Draw what goes wrong in so many seconds: each kind once at least, in rounds of all kinds.

    Faults of different things overlap; a thing is whole again before it is befallen anew.

    Args:
        seed: The same one draws the same, for the same other arguments.
        seconds: All of them are over by then, or soon after.
        without: Kinds that can't be had here.
    """
    chance = random.Random(seed)
    kinds = [kind for kind in Kind if kind not in without]
    count = max(len(kinds), int(seconds / _EVERY_SECONDS))
    longest = min(_LONGEST_SECONDS, max(2 * _SHORTEST_SECONDS, seconds / 8))
    apart = max(0.0, seconds - longest) / count
    whole_at: dict[tuple[Kind, int], float] = {}
    faults: list[Fault] = []
    for number in range(count):
        if number % len(kinds) == 0:
            chance.shuffle(kinds)
        kind = kinds[number % len(kinds)]
        place = chance.randrange(PLACES.get(kind, 1))
        at = max((number + chance.random()) * apart, whole_at.get((kind, place), 0.0))
        fault = Fault(
            at_seconds=at,
            kind=kind,
            place=place,
            lasts_seconds=chance.uniform(_SHORTEST_SECONDS, longest),
            by_seconds=_move(chance) if kind in CLOCKS else 0,
        )
        whole_at[kind, place] = fault.ends_at_seconds
        faults.append(fault)
    return tuple(sorted(faults, key=lambda one: one.at_seconds))


def _move(chance: random.Random) -> int:
    """Draw by how much a clock is moved: minutes or hours, ahead or back."""
    most = chance.choice((600, MOST_AHEAD_SECONDS))
    return chance.choice((-1, 1)) * chance.randint(60, most)
