"""`tollspan webhooks`: who a server tells of refusals, thresholds and changed rules, over HTTP."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from tollspan.exporter import DeliveryAtServer, ServerWebhooks, WebhookAtServer

from ._checks import many
from ._server import server_of
from ._terminal import Cell, Column, Style, print_json, print_line, print_table

_STYLES: dict[str, Style] = {"delivered": "good", "waiting": "", "dead": "bad"}


@contextmanager
def _webhooks_of(parsed: argparse.Namespace) -> Generator[ServerWebhooks]:
    with server_of(parsed) as door:
        yield ServerWebhooks(door)


def add(parsed: argparse.Namespace) -> int:
    """Make a target, and show its secret."""
    with _webhooks_of(parsed) as webhooks:
        made = webhooks.add(parsed.url, parsed.events, label=parsed.label)
    return _show_secret(parsed, made)


def list_(parsed: argparse.Namespace) -> int:
    """List the targets."""
    with _webhooks_of(parsed) as webhooks:
        found = webhooks.all()
    if parsed.json:
        print_json([_as_json(one) for one in found])
        return 0
    print_table(
        (
            Column("webhook"),
            Column("to", is_wide=True),
            Column("told of"),
            Column("made (UTC)", may_go=True),
            Column("label", if_any=True),
            Column("notes", if_any=True),
        ),
        [
            (
                one.id,
                one.url,
                ", ".join(one.events),
                _time(one.created_at),
                one.label,
                ", ".join(_notes(one)),
            )
            for one in found
        ],
    )
    return 0


def deliveries(parsed: argparse.Namespace) -> int:
    """Show what a target was told or is to be told, newest first."""
    with _webhooks_of(parsed) as webhooks:
        found = list(
            itertools.islice(webhooks.deliveries(parsed.webhook, state=parsed.state), parsed.newest)
        )
    if parsed.json:
        print_json(found)
        return 0
    print_table(
        (
            Column("delivery"),
            Column("tells of"),
            Column("since (UTC)", may_go=True),
            Column("state"),
            Column("tries", is_number=True),
            Column("what happened last", is_wide=True, if_any=True),
        ),
        [
            (
                one.id,
                one.type,
                _time(one.created_at),
                Cell(one.state, _STYLES.get(one.state, "")),
                str(one.attempts),
                _last(one),
            )
            for one in found
        ],
    )
    return 0


def replay(parsed: argparse.Namespace) -> int:
    """Have deliveries sent again; exit code 1 where some that are named can't be."""
    if bool(parsed.deliveries) == parsed.dead:
        sys.stderr.write("tollspan webhooks replay: name deliveries, or --dead\n")
        return 2
    wanted = None if parsed.dead else tuple(dict.fromkeys(parsed.deliveries))
    with _webhooks_of(parsed) as webhooks:
        count = webhooks.replay(parsed.webhook, wanted)
    if parsed.json:
        print_json({"replayed": count})
    else:
        print_line(f"{many(count, 'delivery', 'deliveries')} will be sent again")
    return int(wanted is not None and count < len(wanted))


def rotate(parsed: argparse.Namespace) -> int:
    """Give a target a new secret, and show it."""
    with _webhooks_of(parsed) as webhooks:
        made = webhooks.rotate(parsed.webhook, keep_seconds=parsed.keep)
    return _show_secret(parsed, made)


def remove(parsed: argparse.Namespace) -> int:
    """Delete a target."""
    with _webhooks_of(parsed) as webhooks:
        webhooks.remove(parsed.webhook)
    print_line(f"{parsed.webhook} is gone, with all that it was told or was to be told")
    return 0


def _show_secret(parsed: argparse.Namespace, made: WebhookAtServer) -> int:
    if parsed.json:
        print_json(made)
        return 0
    print_line(made.secret or "")
    until = made.old_secret_until
    also = "" if until is None else f" The one before signs too until {_time(until)} UTC."
    sys.stderr.write(
        f"This is the secret of {made.id}, to check who sends to {made.url}. It is not shown "
        f"again.{also}\n"
    )
    return 0


def _as_json(one: WebhookAtServer) -> dict[str, object]:
    """Say all but the secret, which is not shown."""
    said: dict[str, object] = msgspec.structs.asdict(one)
    del said["secret"]
    return said


def _notes(one: WebhookAtServer) -> list[str]:
    notes = [] if one.is_active else ["is told nothing"]
    if one.failures:
        notes.append(f"{many(one.failures, 'failure')} in a row")
    if one.next_try_at is not None and one.failures:
        notes.append(f"tried again {_time(one.next_try_at)}")
    return notes


def _last(one: DeliveryAtServer) -> str:
    if one.problem or one.status is None:
        return one.problem
    return f"it answered {one.status}"


def _time(text: str) -> str:
    return text[:19].replace("T", " ")
