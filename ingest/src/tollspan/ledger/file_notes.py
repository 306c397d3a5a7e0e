"""What is known of files at providers, for all processes of a host: small files beside the ledger.

They can be lost: what nobody knows of a file is then unknown, and the rules decide.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from pathlib import Path

from tollspan.safety import report

from .whole_files import replace_file

_FOLDER, _SUFFIX = "files", ".note"
_MOST_IN_MEMORY = 16 << 20
# Providers keep the files of a batch for 30 days where they are not told otherwise.
_KEEP_SECONDS = 90 * 86_400
_LOOK_EVERY_SECONDS = 3_600.0


class FileNotes:
    """Keeps notes of files by provider and id: the newest in memory too. Thread-safe.

    Args:
        home: The ledger's folder. Notes are in `files` in it, readable by their owner only.
        most_in_memory: Bytes.
    """

    def __init__(self, home: Path, *, most_in_memory: int = _MOST_IN_MEMORY) -> None:
        self._folder = home / _FOLDER
        self._most = most_in_memory
        self._size = 0
        self._recent: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._look_at = 0.0

    def put(self, provider: str, file_id: str, note: bytes) -> None:
        """Keep a note, in place of another one; where the disk takes none, in memory alone."""
        name = _name(provider, file_id)
        if self._remember(name, note):
            try:
                self._write(name, note)
            except OSError as error:
                report("ledger.file_notes", error)

    def get(self, provider: str, file_id: str) -> bytes | None:
        """Return a note; None when there is none, or it can't be read."""
        name = _name(provider, file_id)
        with self._lock:
            found = self._recent.get(name)
        if found is not None:
            return found
        try:
            found = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            report("ledger.file_notes", error)
            return None
        self._remember(name, found)
        return found

    def _remember(self, name: str, note: bytes) -> bool:
        """Keep a note in memory; False when the same one is there already."""
        with self._lock:
            old = self._recent.pop(name, b"")
            self._recent[name] = note
            self._size += len(note) - len(old)
            while self._size > self._most and len(self._recent) > 1:
                _, gone = self._recent.popitem(last=False)
                self._size -= len(gone)
        return old != note

    def _write(self, name: str, note: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget_old()
        replace_file(self._folder / name, note)

    def _forget_old(self) -> None:
        """Remove, once an hour, what is of no more use."""
        now = time.time()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_SECONDS
        for path in self._folder.iterdir():
            try:
                if path.stat().st_mtime < now - _KEEP_SECONDS:
                    path.unlink()
            except FileNotFoundError:  # another process was first
                continue


def _name(provider: str, file_id: str) -> str:
    """Name the file of a note: ids are the provider's, and no names for files."""
    key = f"{provider}\0{file_id}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(key).hexdigest()[:40] + _SUFFIX
