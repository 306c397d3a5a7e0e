"""`tollspan forward`: events as CloudEvents, to any address that takes them."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tollspan.exporter import Forwarder
from tollspan.launch import ledger_home_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import ConfigError, TollspanError

from ._checks import many
from ._terminal import print_line

_LOOK_SECONDS = 1.0
_PAUSE_SECONDS = 10.0


def forward(parsed: argparse.Namespace) -> int:
    """Send what is new; go on for ever where that is asked for."""
    if not parsed.to.startswith(("https://", "http://")):
        raise ConfigError(f"--to is {parsed.to[:80]!r}; expected http:// or https://")
    forwarder = Forwarder(
        LedgerReader(ledger_home_in_force() / LEDGER_FILE), parsed.to, parsed.cursor,
        key=_key(parsed.key_file), at_once=parsed.at_once,
    )  # fmt: skip
    try:
        while parsed.follow:
            time.sleep(_LOOK_SECONDS if _try(forwarder) else _PAUSE_SECONDS)
        sent = 0
        try:
            for count in forwarder.forward():
                sent += count
        finally:
            print_line(f"{many(sent, 'event')} forwarded")
    finally:
        forwarder.close()
    return 0


def _try(forwarder: Forwarder) -> bool:
    """Forward what is there; say what failed."""
    try:
        for _ in forwarder.forward():
            pass
    except TollspanError as error:
        sys.stderr.write(f"tollspan forward: {error}\n")
        return False
    return True


def _key(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        key = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{path}: holds no token; expected one line of printable characters")
    return key
