"""Build the Go programs that tests start, OpenTelemetry's Collector and Jaeger, where missing.

Run as `python3 scripts/go_programs.py`, with Go in PATH or in `/usr/local/go`. The Collector is
made by its official builder of what `collector-config/builder.yaml` lists; Jaeger of its Go module,
without its web pages, which are not in it. Both are kept in the user's cache folder, by a hash of
what they are made of, so that a clone of the repository finds those of the one before.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from environment import ROOT

MANIFEST: Final = ROOT / "collector-config/builder.yaml"
BUILDER: Final = "go.opentelemetry.io/collector/cmd/builder@v0.161.0"
JAEGER: Final = "github.com/jaegertracing/jaeger"
JAEGER_VERSION: Final = "v1.76.0"
BUILD_TIMEOUT_SECONDS: Final = 1_500


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A program that is built of Go modules.

    Attributes:
        name: Of its file.
        recipe: All that decides what comes out.
        build: Builds it in an empty folder, and returns where it is.
    """

    name: str
    recipe: str
    build: Callable[[Path], Path]


def _build_collector(folder: Path) -> Path:
    manifest = MANIFEST.read_text("utf-8")
    place = "output_path: build/collector"
    if place not in manifest:
        raise SystemExit(f"{MANIFEST}: expected a line `{place}`")
    here = folder / "builder.yaml"
    here.write_text(manifest.replace(place, f"output_path: {folder / 'made'}"), "utf-8")
    _go(folder, "run", BUILDER, "--config", str(here))
    return folder / "made/otelcol"


def _build_jaeger(folder: Path) -> Path:
    # In a module of its own, since Jaeger's replaces what `go install` of a version refuses.
    _go(folder, "mod", "init", "made")
    _go(folder, "get", "-tool", f"{JAEGER}/cmd/jaeger@{JAEGER_VERSION}")
    _go(folder, "build", "-trimpath", "-ldflags=-s -w", "-o", "jaeger", f"{JAEGER}/cmd/jaeger")
    return folder / "jaeger"


def collector() -> Program:
    """Return the Collector, of what the manifest lists now."""
    recipe = f"{BUILDER}\n{MANIFEST.read_text('utf-8')}"
    return Program(name="otelcol", recipe=recipe, build=_build_collector)


def jaeger() -> Program:
    """Return Jaeger."""
    return Program(name="jaeger", recipe=f"{JAEGER}@{JAEGER_VERSION}", build=_build_jaeger)


def ensure(program: Program) -> Path:
    """Return where a program is; build it first where it is missing, which takes minutes.

    Raises:
        SystemExit: It can't be built; the text says why.
    """
    found = _cache() / f"{program.name}-{hashlib.sha256(program.recipe.encode()).hexdigest()[:16]}"
    with _alone(found.with_suffix(".lock")):
        if not found.is_file():
            print(f"Building {program.name} (once) ...", flush=True)
            with TemporaryDirectory(dir=found.parent) as folder:
                made = program.build(Path(folder))
                made.replace(found)
    return found


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "tollspan-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _alone(path: Path) -> Generator[None]:
    """Have one process at a time build; the others find what it built."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _go(folder: Path, *arguments: str) -> None:
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise SystemExit("The Collector's tests need Go 1.25 or later: https://go.dev/doc/install")
    path = (
        f"{Path(go).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"  # the builder's, too
    )
    done = subprocess.run(
        [go, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=BUILD_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"go {' '.join(arguments)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


if __name__ == "__main__":
    for each in (collector(), jaeger()):
        sys.stdout.write(f"{ensure(each)}\n")
