"""Replay seeds: `python -m tests.simulation.host SEED [SEED …]` prints the whole trace of each."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.simulation.host.simulation import Simulation


def main(seeds: list[int]) -> None:
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            simulation = Simulation(seed, Path(folder))
            try:
                simulation.run()
            finally:
                print(f"seed {seed}: {simulation.plan}")
                print(simulation.world.told(last=10**9))


if __name__ == "__main__":
    main([int(one) for one in sys.argv[1:]])
