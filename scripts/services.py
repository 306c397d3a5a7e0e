"""Install the programs that tests start, servers and a browser, where they are missing.

Run as `python3 scripts/services.py`, as root or with a sudo that asks no password: Debian's and
Ubuntu's packages. Elsewhere, and without such rights, it says what to install by hand. Tests start
the programs by themselves, see `tests/services.py`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STEP_TIMEOUT_SECONDS: Final = 240
POLICY: Final = Path("/usr/sbin/policy-rc.d")
START_NOTHING: Final = (
    "#!/bin/sh\n# Written by scripts/services.py for one installation.\nexit 101\n"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """A server that tests start.

    Attributes:
        name: For people.
        programs: Any one of these will do.
        folders: Where to look beyond PATH, as globs under `/`; the highest version comes first.
        package: Debian's name.
    """

    name: str
    programs: tuple[str, ...]
    folders: tuple[str, ...]
    package: str


SERVICES: Final = (
    Service(
        name="Redis or Valkey",
        programs=("redis-server", "valkey-server"),
        folders=(),
        package="redis-server",
    ),
    Service(
        name="PostgreSQL",
        programs=("postgres",),
        folders=("usr/lib/postgresql/*/bin", "opt/homebrew/opt/postgresql*/bin"),
        package="postgresql",
    ),
    Service(
        name="PgBouncer",
        programs=("pgbouncer",),
        folders=("usr/sbin",),  # not in everybody's PATH
        package="pgbouncer",
    ),
    Service(  # no server, but it comes and is found in the same way
        name="Chromium",
        programs=("chromium", "chromium-browser"),
        folders=(),
        package="chromium",
    ),
    Service(
        name="Node.js",
        programs=("node", "nodejs"),
        folders=(),
        package="nodejs",
    ),
    Service(  # with promtool
        name="Prometheus",
        programs=("prometheus",),
        folders=(),
        package="prometheus",
    ),
)


def find(service: Service) -> Path | None:
    """Return the service's program; None where there is none."""
    for pattern in service.folders:
        for folder in sorted(Path("/").glob(pattern), key=_version, reverse=True):
            for program in service.programs:
                if (folder / program).is_file():
                    return folder / program
    for program in service.programs:
        found = shutil.which(program)
        if found:
            return Path(found).resolve() if service.folders else Path(found)
    return None


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())


def missing() -> list[Service]:
    """Return the services that this machine can't run."""
    return [service for service in SERVICES if find(service) is None]


def as_root() -> list[str] | None:
    """Return what goes before a command that needs root; None where it can't be had."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    asked = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
    return ["sudo", "-n"] if asked.returncode == 0 else None


def by_hand(services: Sequence[Service]) -> str:
    """Say what to do where nothing can be installed from here."""
    names = " and ".join(service.name for service in services)
    packages = " ".join(service.package for service in services)
    return (
        f"Tests need {names}, which this machine lacks and which can't be installed from here.\n"
        f"  Debian, Ubuntu:  apt-get install {packages}\n"
        "  macOS:           brew install redis postgresql@16 pgbouncer chromium node prometheus\n"
        "Only `make test-core` does without."
    )


def ensure() -> bool:
    """Make the services' programs be there; quick, and without network, where they are.

    Returns:
        Whether anything was installed.

    Raises:
        SystemExit: They can't be installed; the text says what to do.
    """
    lacking = missing()
    if not lacking:
        return False
    before = as_root()
    if before is None or shutil.which("apt-get") is None:
        raise SystemExit(by_hand(lacking))
    packages = [service.package for service in lacking]
    print(f"Installing {', '.join(packages)} (once) ...", flush=True)
    with _nothing_started(before):
        install = ("apt-get", "install", "-y", "-q", "--no-install-recommends", *packages)
        if _run(before, *install) != 0:
            _run(before, "apt-get", "update", "-q")
            _run(before, *install)
    lacking = missing()
    if lacking:
        raise SystemExit(by_hand(lacking))
    return True


def _run(before: Sequence[str], *command: str) -> int:
    # Through env(1), since sudo passes no variables on.
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    done = subprocess.run(
        [*before, *quiet, *command],
        capture_output=True,
        text=True,
        timeout=STEP_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        print(done.stderr.strip()[-2000:], file=sys.stderr, flush=True)
    return done.returncode


@contextlib.contextmanager
def _nothing_started(before: Sequence[str]) -> Generator[None]:
    """Have Debian start no server that it installs, as its policy layer provides for."""
    if POLICY.exists():
        yield
        return
    write = ["sh", "-c", f"cat > {POLICY} && chmod 755 {POLICY}"]
    subprocess.run([*before, *write], input=START_NOTHING, text=True, check=True)
    try:
        yield
    finally:
        subprocess.run([*before, "rm", "-f", str(POLICY)], check=True)


if __name__ == "__main__":
    ensure()
