"""`tollspan outbox`: what waits to be sent, what a server refused, and sending it by hand."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Generator

from tollspan.exporter import Shipper
from tollspan.launch import settings_in_force, shipper_of
from tollspan.ledger import DeadLetter, SQLiteLedger
from tollspan.usage import ConfigError, TollspanError, rfc3339

from ._checks import many
from ._terminal import Column, print_json, print_line, print_table


@contextlib.contextmanager
def _open() -> Generator[tuple[SQLiteLedger, Shipper]]:
    settings = settings_in_force()
    ledger = SQLiteLedger(settings.ledger_home)
    shipper = shipper_of(settings, ledger)
    if shipper is None:
        raise ConfigError(
            "events stay on this host: TOLLSPAN_ENDPOINT and TOLLSPAN_API_KEY are not set"
        )
    try:
        yield ledger, shipper
    finally:
        ledger.close()


def list_(parsed: argparse.Namespace) -> int:
    """Show what waits; exit code 0 whatever that is."""
    with _open() as (ledger, shipper):
        status = shipper.status()
        dead = list(ledger.outbox.dead_letters(shipper.destination))
    waits = status.waits
    if parsed.json:
        print_json(
            {
                "destination": status.destination,
                "waiting": None if waits is None else waits.count,
                "oldest": _time(None if waits is None else waits.oldest_unix_ns),
                "sent_at": _time(status.sent_at_unix_ns or None),
                "problem": status.problem,
                "exceeded": status.exceeded,
                "dead_letters": [_as_json(one) for one in dead],
            }
        )
        return 0
    waiting = "nobody knows how many events" if waits is None else many(waits.count, "event")
    print_line(f"{waiting} to send to {status.destination}")
    if waits is not None and waits.oldest_unix_ns is not None:
        print_line(f"the oldest is of {rfc3339(waits.oldest_unix_ns)}")
    if status.problem is not None:
        print_line(f"why they wait: {status.problem}")
    if status.exceeded:
        found = many(status.exceeded, "account")
        print_line(f"{found} used up there: calls that touch one are denied")
    if dead:
        print_line()
        print_line(f"{many(len(dead), 'event')} that it refused for good:")
        print_table(
            (
                Column("event"),
                Column("refused"),
                Column("reason"),
                Column("what it said", is_wide=True),
                Column("notes", if_any=True),
            ),
            [
                (
                    one.event_id,
                    rfc3339(one.at_unix_ns)[:19],
                    one.reason,
                    one.message,
                    "is sent again" if one.is_wanted else "",
                )
                for one in dead
            ],
        )
    return 0


def send(parsed: argparse.Namespace) -> int:  # noqa: ARG001 - argparse's signature
    """Send what waits."""
    with _open() as (ledger, shipper):
        try:
            done = shipper.ship()
        except TollspanError as error:
            sys.stderr.write(f"tollspan outbox: {shipper.destination}: {error}\n")
            return 1
        left = ledger.outbox.waits(shipper.destination).count
    print_line(f"{many(done, 'event')} sent to {shipper.destination}, {left:,} left")
    return int(left > 0)


def replay(parsed: argparse.Namespace) -> int:
    """Have refused events sent again, by the next process that sends."""
    if bool(parsed.events) == parsed.all:
        sys.stderr.write("tollspan outbox replay: name events, or --all\n")
        return 2
    with _open() as (ledger, shipper):
        wanted = None if parsed.all else tuple(dict.fromkeys(parsed.events))
        found = ledger.outbox.replay(shipper.destination, wanted)
    print_line(f"{many(found, 'event')} will be sent to {shipper.destination} again")
    return int(wanted is not None and found < len(wanted))


def _time(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else rfc3339(unix_ns)


def _as_json(one: DeadLetter) -> dict[str, object]:
    return {
        "event": one.event_id,
        "refused_at": rfc3339(one.at_unix_ns),
        "reason": one.reason,
        "message": one.message,
        "is_wanted": one.is_wanted,
    }
