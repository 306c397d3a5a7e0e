"""`tollspan audit`: who changed what on an ingest server, over HTTP or from its database."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from typing import Final

import msgspec

from tollspan.exporter import AuditEntryAtServer, ServerAudit
from tollspan.usage import rfc3339

from ._central import open_central
from ._server import server_of
from ._terminal import Column, print_json, print_table

_SHOWN: Final = 50
_AT_ONCE: Final = 500


def audit(parsed: argparse.Namespace) -> int:
    """Show changes, oldest first."""
    most = parsed.newest or (None if parsed.json else _SHOWN)
    entries = _from_server(parsed) if parsed.db is None else _from_database(parsed)
    found = list(itertools.islice(entries, most))[::-1]
    if parsed.json:
        print_json(found)
        return 0
    print_table(
        (
            Column("at (UTC)"),
            Column("tenant"),
            Column("who"),
            Column("what"),
            Column("of"),
            Column("details", is_wide=True, may_go=True),
        ),
        [
            (
                one.at[:19].replace("T", " "),
                one.tenant,
                one.actor,
                one.action,
                one.subject,
                msgspec.json.encode(one.details).decode() if one.details else "",
            )
            for one in found
        ],
    )
    return 0


def _from_server(parsed: argparse.Namespace) -> Iterator[AuditEntryAtServer]:
    with server_of(parsed) as door:
        yield from ServerAudit(door).newest(
            since_unix_ns=parsed.since or None, until_unix_ns=parsed.until, action=parsed.action
        )


def _from_database(parsed: argparse.Namespace) -> Iterator[AuditEntryAtServer]:
    after: int | None = None
    with open_central(parsed.db) as ledger:
        while True:
            page = ledger.audit.entries(
                parsed.tenant, after=after, since_unix_ns=parsed.since or None,
                until_unix_ns=parsed.until, action=parsed.action, is_newest_first=True,
                most=_AT_ONCE,
            )  # fmt: skip
            for one in page:
                yield AuditEntryAtServer(
                    number=one.number, at=rfc3339(one.at_unix_ns), tenant=one.tenant,
                    actor=one.actor, action=one.action, subject=one.subject, details=one.details,
                )  # fmt: skip
            if len(page) < _AT_ONCE:
                return
            after = page[-1].number
