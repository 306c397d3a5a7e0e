"""Clocks of single programs, moved while they run as somebody sets the clock of a machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")
_COMPILER = "cc"


def can_be_moved() -> bool:
    """Say whether it can be done here: on Linux, with a C compiler."""
    return sys.platform == "linux" and shutil.which(_COMPILER) is not None


class Clocks:
    """Makes clocks, in a folder that the programs' users may read."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._library = folder / "clock.so"
        command = (_COMPILER, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE))
        subprocess.run(command, check=True)

    def make(self, name: str) -> Clock:
        """Make a clock that is right until it is moved."""
        return Clock(self._library, self._folder / name)


class Clock:
    """The clock of one program, or of several.

    Attributes:
        file: Says by how much it is moved.
        environ: What has a program go by it.
    """

    def __init__(self, library: Path, file: Path) -> None:
        self.file = file
        self.environ = {"LD_PRELOAD": str(library), "CLOCK_FILE": str(file)}
        file.write_bytes(bytes(8))

    @property
    def before(self) -> list[str]:
        """Words before a command that has it go by this clock."""
        return ["env", *(f"{name}={value}" for name, value in self.environ.items())]

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Have the programs that are started meanwhile go by this clock, or `follow` another."""
        os.environ.update(self.environ)
        try:
            yield
        finally:
            for name in self.environ:
                del os.environ[name]

    def move(self, seconds: int) -> None:
        """Set it so much ahead of the machine's, or behind."""
        with self.file.open("r+b", buffering=0) as file:
            file.write((seconds * 1_000_000_000).to_bytes(8, sys.byteorder, signed=True))


def follow(file: str) -> None:
    """Have this process, which was started under some `Clock.loaded`, go by a clock's file."""
    assert ctypes.CDLL(None).clock_from(ctypes.c_char_p(os.fsencode(file))) == 0, file
