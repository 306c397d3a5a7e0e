"""Replaces small files so that whoever reads one finds the old or the new, whole."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def replace_file(path: Path, data: bytes, *, is_durable: bool = False) -> None:
    """Write a file that only its owner can read; its folder is there.

    Args:
        path: Where.
        data: All that is to be in it.
        is_durable: It survives a power cut that comes after this returned.

    Raises:
        OSError: It can't be written; what was there stays.
    """
    new = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(data)
            if is_durable:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
