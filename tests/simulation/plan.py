"""What kind of world a seed makes: how many processes, how much money, which faults."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from tollspan.budget import LeaseSettings

Clocks = Literal["true", "skewed", "wild"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of world.

    Attributes:
        seconds: How long calls are made.
        processes, hosts: How many there are at first.
        mean: The mean bound of a call, in the unit of its accounts.
        calls_that_fit: So many calls fit the tightest limit.
        settings: Of all leases.
        loss: How likely a message is lost on either way, or late, or told twice.
        slow: How likely an answer takes as long as a caller waits.
        cuts, crashes, forks, changes: How often a second, in all, the network is cut, a process
            crashes, forks, or somebody changes a limit.
        clocks: `skewed` within the drift margin; `wild` jumps, and machines are suspended.
        restores: How often the authority is restored from a backup.
        has_operator: Somebody resolves by hand what is unresolved.
        overruns: How likely a call costs more than its bound.
        jobs: How likely a call is accepted as a job, whose end is seen later.
    """

    seconds: float
    processes: int
    hosts: int
    mean: int
    calls_that_fit: int
    settings: LeaseSettings
    loss: float
    slow: float
    cuts: float
    crashes: float
    forks: float
    changes: float
    clocks: Clocks
    restores: int
    has_operator: bool
    overruns: float
    jobs: float

    @property
    def is_calm(self) -> bool:
        """Nothing goes wrong, so that nothing may be left over."""
        return not (self.loss or self.cuts or self.crashes or self.restores or self.slow) and (
            self.clocks != "wild"
        )


def plan(seed: int) -> Plan:
    """Make the plan of a seed."""
    chance = random.Random(f"plan {seed}")
    kind = chance.choices(["calm", "rough", "stormy"], [1, 4, 5])[0]
    is_rough = kind != "calm"
    most = chance.choice([1, 8, 64, 256])
    return Plan(
        seconds=chance.uniform(6, 14),
        processes=chance.randint(2, 4),
        hosts=chance.randint(1, 3),
        mean=chance.choice([1, 10, 1_000_000]),
        calls_that_fit=chance.choice([5, 30, 100, 1_000, 20_000, 100_000]),
        settings=LeaseSettings(
            first=min(most, chance.choice([1, 4])),
            most=most,
            hurry_seconds=0.5,
            idle_seconds=chance.choice([0.3, 1.0]),
            life_seconds=chance.choice([2.0, 4.0]),
            horizon_seconds=chance.choice([5.0, 100.0]),
            drift_seconds=0.6,
            wait_seconds=0.25,
        ),
        loss=chance.choice([0.0, 0.01, 0.05, 0.2]) if is_rough else 0.0,
        slow=chance.choice([0.0, 0.02, 0.2]) if is_rough else 0.0,
        cuts=chance.choice([0.0, 0.1, 0.4]) if is_rough else 0.0,
        crashes=chance.choice([0.0, 0.1, 0.4]) if is_rough else 0.0,
        forks=chance.choice([0.0, 0.2]),
        changes=chance.choice([0.0, 0.5]),
        clocks=chance.choice(["true", "skewed", "wild" if kind == "stormy" else "skewed"]),
        restores=chance.choice([0, 0, 1]) if kind == "stormy" else 0,
        has_operator=chance.random() < 0.3,
        overruns=chance.choice([0.0, 0.02]),
        jobs=chance.choice([0.0, 0.0, 0.2]),
    )
