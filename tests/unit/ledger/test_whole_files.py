"""A file that is replaced is the old one or the new one, and nothing is left beside it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tollspan.ledger import replace_file


@pytest.mark.parametrize("is_durable", [False, True])
def test_a_file_is_made_and_replaced_for_its_owner_alone(
    tmp_path: Path,
    is_durable: bool,
) -> None:
    path = tmp_path / "state.json"
    for data in (b"first, which is longer", b"second"):
        replace_file(path, data, is_durable=is_durable)
        assert path.read_bytes() == data
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_where_it_cannot_be_replaced_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    (path / "in the way").touch()
    with pytest.raises(OSError, match="irectory"):
        replace_file(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "nowhere" / "state.json", b"new")
