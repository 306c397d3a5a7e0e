"""`tollspan tenants` and `tollspan keys`: whose books a server keeps, and who may do what."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tollspan.usage import rfc3339

from ._author import author
from ._central import open_central
from ._serve import database
from ._terminal import Column, print_json, print_line, print_table

if TYPE_CHECKING:
    from tollspan.ledger.central import ApiKey

_FIRST_TENANT = "default"


def create(parsed: argparse.Namespace) -> int:
    """Make a tenant."""
    with open_central(database(parsed)) as ledger:
        made = ledger.tenants.create(parsed.name, actor=author())
    print_line(
        f"tenant {made.name} is made; `tollspan keys create --tenant {made.name}` comes next"
    )
    return 0


def list_(parsed: argparse.Namespace) -> int:
    """List all tenants."""
    with open_central(database(parsed)) as ledger:
        found = ledger.tenants.all()
    if parsed.json:
        print_json(
            [{"tenant": one.name, "created_at": rfc3339(one.created_unix_ns)} for one in found]
        )
        return 0
    print_table(
        (Column("tenant"), Column("made")),
        [(one.name, rfc3339(one.created_unix_ns)[:19]) for one in found],
    )
    return 0


def create_key(parsed: argparse.Namespace) -> int:
    """Make a key, and show it."""
    with open_central(database(parsed)) as ledger:
        if parsed.tenant == _FIRST_TENANT and all(
            one.name != _FIRST_TENANT for one in ledger.tenants.all()
        ):
            ledger.tenants.create(_FIRST_TENANT, actor=author())
        key, secret = ledger.tenants.create_key(
            parsed.tenant, parsed.scopes, actor=author(), label=parsed.label
        )
    if parsed.json:
        print_json({**_as_json(key), "key": secret})
        return 0
    print_line(secret)
    sys.stderr.write(
        f"This is the key {key.id} of {key.tenant}, for {', '.join(key.scopes)}. It is not "
        "stored and can't be shown again.\n"
    )
    return 0


def keys(parsed: argparse.Namespace) -> int:
    """List keys."""
    with open_central(database(parsed)) as ledger:
        found = ledger.tenants.keys(parsed.tenant)
    if parsed.json:
        print_json([_as_json(one) for one in found])
        return 0
    print_table(
        (
            Column("key"),
            Column("tenant"),
            Column("scopes"),
            Column("made"),
            Column("revoked", if_any=True),
            Column("label", is_wide=True, if_any=True),
        ),
        [
            (
                one.id,
                one.tenant,
                ", ".join(one.scopes),
                rfc3339(one.created_unix_ns)[:19],
                "" if one.revoked_unix_ns is None else rfc3339(one.revoked_unix_ns)[:19],
                one.label,
            )
            for one in found
        ],
    )
    return 0


def revoke(parsed: argparse.Namespace) -> int:
    """End a key."""
    with open_central(database(parsed)) as ledger:
        ended = ledger.tenants.revoke(parsed.key, actor=author())
    if ended is None:
        sys.stderr.write(f"tollspan keys: there is no key {parsed.key!r}\n")
        return 1
    print_line(f"key {ended.id} of {ended.tenant} is revoked")
    return 0


def _as_json(key: ApiKey) -> dict[str, object]:
    return {
        "id": key.id,
        "tenant": key.tenant,
        "scopes": list(key.scopes),
        "label": key.label,
        "created_at": rfc3339(key.created_unix_ns),
        "revoked_at": None if key.revoked_unix_ns is None else rfc3339(key.revoked_unix_ns),
    }
