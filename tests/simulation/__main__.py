"""Replay seeds: `python -m tests.simulation SEED [SEED …]` prints the whole trace of each."""

from __future__ import annotations

import sys

from tests.simulation.simulation import Simulation


def main(seeds: list[int]) -> None:
    for seed in seeds:
        simulation = Simulation(seed)
        try:
            simulation.run()
        finally:
            print(f"seed {seed}: {simulation.plan}")
            print(simulation.world.told(last=10**9))


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]])
