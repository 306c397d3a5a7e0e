"""Opens an ingest server for a command that asks it over HTTP: which, with which key, for whom."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

from tollspan.exporter import ServerDoor
from tollspan.launch import read_settings
from tollspan.usage import ConfigError

_ENDPOINT: Final = "TOLLSPAN_ENDPOINT"
_KEY: Final = "TOLLSPAN_API_KEY"
_LONGEST_KEY: Final = 4_096


@contextlib.contextmanager
def server_of(parsed: argparse.Namespace) -> Generator[ServerDoor]:
    """Open the server that the command line or the environment names, for a block.

    Raises:
        ConfigError: None is named, or no key is.
    """
    said = {name: os.environ.get(name, "") for name in (_ENDPOINT, _KEY)}
    if parsed.endpoint is not None:
        said[_ENDPOINT] = parsed.endpoint
    if parsed.key_file is not None:
        said[_KEY] = _key_in(Path(parsed.key_file))
    if not said[_ENDPOINT].strip():
        raise ConfigError(f"which server? Set {_ENDPOINT}, or say --endpoint https://host")
    if not said[_KEY].strip():
        raise ConfigError(f"no API key: set {_KEY}, or say --key-file FILE")
    settings = read_settings(said, on_wrong=_raise_if_ours)
    assert settings.endpoint is not None
    assert settings.api_key is not None
    door = ServerDoor(settings.endpoint, settings.api_key, tenant=parsed.tenant)
    try:
        yield door
    finally:
        door.close()


def _key_in(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_LONGEST_KEY).decode("ascii").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in ASCII"
        raise ConfigError(f"{path}: the key can't be read: {why}") from None
    if not text:
        raise ConfigError(f"{path}: there is no key in it")
    return text


def _raise_if_ours(error: ConfigError) -> None:
    """Raise what is wrong with the address or the key; a home folder is not needed here."""
    if str(error).startswith((_ENDPOINT, _KEY)):
        raise error
