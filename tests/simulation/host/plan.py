"""What kind of host a seed makes: how many processes, how much money, which faults."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from tollspan.budget import LeaseSettings

NEVER = 1e6
Leases = Literal["never", "auto", "always"]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of host.

    Attributes:
        seconds: How long calls are made.
        processes: How many there are at first.
        mean: The mean bound of a call, in the unit of its accounts.
        calls_that_fit: So many calls fit the tightest limit.
        leases: When processes decide from leases.
        settings: Of these.
        rate: How many calls a process makes a second.
        pauses: How likely a process gives way to others before a statement.
        locks: How often a second somebody else takes the file, for a while; and, in per cent, how
            likely just before a statement.
        crashes, forks, changes, disks: How often a second a process crashes, forks, somebody
            changes a limit, or the disk is full for a while; crashes, in per cent, also how likely
            just before a statement.
        overruns: How likely a call costs more than its bound.
        jobs: How likely a call is accepted as a job, whose end is seen later.
        job_horizon_seconds: After so long, nobody expects to see it any more.
        operators: How often a second somebody adjusts a budget, or settles something by hand.
    """

    seconds: float
    processes: int
    mean: int
    calls_that_fit: int
    rate: float
    leases: Leases
    settings: LeaseSettings
    pauses: float
    locks: float
    crashes: float
    forks: float
    changes: float
    disks: float
    overruns: float
    jobs: float
    job_horizon_seconds: float
    operators: float

    @property
    def is_calm(self) -> bool:
        """Nothing goes wrong, so that nothing may be left over."""
        return not (self.locks or self.crashes or self.disks)


def plan(seed: int) -> Plan:
    """Make the plan of a seed."""
    chance = random.Random(f"host {seed}")
    is_rough = chance.random() < 0.85
    most = chance.choice([1, 8, 64, 256])
    return Plan(
        seconds=chance.uniform(3, 8),
        processes=chance.randint(2, 4),
        mean=chance.choice([1, 10, 1_000_000]),
        calls_that_fit=chance.choice([5, 20, 40, 100, 300, 300, 20_000]),
        rate=chance.choice([4.0, 4.0, 16.0]),
        leases=chance.choice(["never", "auto", "always", "always"]),
        settings=LeaseSettings(
            first=min(most, chance.choice([1, 4])),
            most=most,
            hurry_seconds=0.5,
            idle_seconds=chance.choice([0.3, 1.0]),
        ),
        pauses=chance.choice([0.0, 0.05, 0.4]),
        locks=chance.choice([0.0, 0.5, 4.0]) if is_rough else 0.0,
        crashes=chance.choice([0.0, 0.2, 0.8]) if is_rough else 0.0,
        forks=chance.choice([0.0, 0.3]),
        changes=chance.choice([0.0, 0.5]),
        disks=chance.choice([0.0, 0.0, 0.3]) if is_rough else 0.0,
        overruns=chance.choice([0.0, 0.02]),
        jobs=chance.choice([0.0, 0.1, 0.4]),
        job_horizon_seconds=chance.choice([1.5, NEVER]) if is_rough else NEVER,
        operators=chance.choice([0.0, 0.0, 1.0]),
    )
