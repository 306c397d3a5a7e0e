"""Notes of files at providers: for all processes of a host, and no matter when they are lost."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from tollspan.ledger import FileNotes
from tollspan.safety import internal_errors


def test_a_note_is_found_by_other_processes_under_its_provider_and_id(tmp_path: Path) -> None:
    FileNotes(tmp_path).put("openai", "file-1", b"one")
    other = FileNotes(tmp_path)
    assert other.get("openai", "file-1") == b"one"
    assert other.get("azure.ai.openai", "file-1") is None
    assert other.get("openai", "file-2") is None


def test_the_newest_note_counts(tmp_path: Path) -> None:
    notes = FileNotes(tmp_path)
    notes.put("openai", "file-1", b"one")
    notes.put("openai", "file-1", b"two")
    assert notes.get("openai", "file-1") == b"two"
    assert FileNotes(tmp_path).get("openai", "file-1") == b"two"


def test_notes_are_for_their_owner_s_eyes_and_ids_are_no_paths(tmp_path: Path) -> None:
    notes = FileNotes(tmp_path / "home")
    notes.put("openai", "../../../etc/\0/x\ud800", b"one")
    assert notes.get("openai", "../../../etc/\0/x\ud800") == b"one"
    folder = tmp_path / "home" / "files"
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_memory_is_bounded_and_the_disk_has_the_rest(tmp_path: Path) -> None:
    notes = FileNotes(tmp_path, most_in_memory=100)
    for number in range(10):
        notes.put("openai", f"file-{number}", bytes([number]) * 40)
    for path in (tmp_path / "files").iterdir():
        path.unlink()
    found = [notes.get("openai", f"file-{number}") for number in range(10)]
    assert [one is not None for one in found] == [False] * 8 + [True] * 2


def test_where_the_disk_takes_nothing_a_note_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("in the way")
    before = sum(internal_errors.values())
    notes = FileNotes(tmp_path)
    notes.put("openai", "file-1", b"one")
    assert notes.get("openai", "file-1") == b"one"
    assert sum(internal_errors.values()) == before + 1


def test_what_is_old_is_forgotten(tmp_path: Path) -> None:
    FileNotes(tmp_path).put("openai", "file-1", b"one")
    (path,) = (tmp_path / "files").iterdir()
    old = time.time() - 100 * 86_400
    os.utime(path, (old, old))
    FileNotes(tmp_path).put("openai", "file-2", b"two")
    assert FileNotes(tmp_path).get("openai", "file-1") is None
    assert FileNotes(tmp_path).get("openai", "file-2") == b"two"


def test_many_threads_write_one_note(tmp_path: Path) -> None:
    notes = [FileNotes(tmp_path) for _ in range(8)]
    threads = [
        threading.Thread(target=one.put, args=("openai", "file-1", bytes([n]) * 10_000))
        for n, one in enumerate(notes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = FileNotes(tmp_path).get("openai", "file-1")
    assert found is not None
    assert len(set(found)) == 1
    assert len(list((tmp_path / "files").iterdir())) == 1
