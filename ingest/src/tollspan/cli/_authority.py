"""`tollspan authority`: opens, fills and shows the authority that many hosts share."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Generator

from tollspan.budget import OWN_AUTHORITIES, SharedAuthority
from tollspan.exporter import SettlingBooks
from tollspan.launch import Settings, settings_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger, name_of, open_authority
from tollspan.usage import ConfigError, LedgerError, rfc3339

from ._terminal import print_json


def open_(parsed: argparse.Namespace) -> int:
    """Let a shared authority grant, in a new epoch: leases of older ones are over."""
    with _authority(parsed.url) as (_, address, authority):
        was = authority.epoch()
        if was is not None and not parsed.anew:
            print(f"{_place(address)} is open since {_when(was)}; --anew ends all its leases")
            return 0
        print(f"{_place(address)} is open: epoch {authority.open_epoch()}")
    return 0


def fill(parsed: argparse.Namespace) -> int:
    """Tell a shared authority what this host's events charge, those it was told of before too."""
    with _authority(parsed.url) as (settings, address, authority):
        ledger = SQLiteLedger(settings.ledger_home)
        try:
            ledger.open()
            name = name_of(address)
            ledger.note_settled(name, 0, ledger.inode())
            told = SettlingBooks(ledger, authority, name=name).settle()
        finally:
            ledger.close()
        print(f"{told} events of this host were told to {_place(address)}; each counts once")
        if authority.epoch() is None:
            print("it is not open yet: once every host has told its own, run")
            print(f"  tollspan authority open {address if parsed.url else ''}".rstrip())
    return 0


def status(parsed: argparse.Namespace) -> int:
    """Say whether a shared authority grants, and what waits to be settled with it."""
    with _authority(parsed.url) as (settings, address, authority):
        epoch = authority.epoch()
        authority.expire()
        open_money = authority.unresolved()
        waiting = _waiting(settings, address)
    if parsed.json:
        print_json(
            {
                "authority": _place(address),
                "epoch": epoch,
                "unsettled_events": waiting,
                "unresolved": [
                    {
                        "lease": one.lease_id,
                        "budget": one.account.budget_id,
                        "scope": one.account.scope,
                        "period": one.account.period,
                        "unit": one.account.unit,
                        "amount": str(one.amount),
                        "since": rfc3339(one.since_unix_ns),
                    }
                    for one in open_money
                ],
            }
        )
    else:
        state = (
            "is not open: it grants nothing" if epoch is None else f"is open since {_when(epoch)}"
        )
        print(f"{_place(address)} {state}")
        print(f"{waiting} events of this host wait to be settled with it")
        print(f"{len(open_money)} amounts of ended leases are unresolved")
    return 0 if epoch is not None else 1


@contextlib.contextmanager
def _authority(url: str | None) -> Generator[tuple[Settings, str, SharedAuthority]]:
    settings = settings_in_force()
    address = url or settings.authority
    if address in OWN_AUTHORITIES:
        raise ConfigError(
            f"the authority here is {address}, which nobody else shares: set TOLLSPAN_AUTHORITY, "
            "or name one: tollspan authority status redis://localhost"
        )
    authority = open_authority(address, settings.lease)
    try:
        yield settings, address, authority
    finally:
        authority.close()


def _waiting(settings: Settings, address: str) -> int:
    """Count this host's events that were not settled yet; 0 without a ledger."""
    reader = LedgerReader(settings.ledger_home / LEDGER_FILE)
    try:
        return reader.highest_number() - reader.settled(name_of(address))
    except LedgerError as error:
        sys.stderr.write(f"tollspan authority: {error}\n")
        return 0


def _place(address: str) -> str:
    """Name an authority without its password."""
    scheme, _, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _when(epoch: str) -> str:
    """Say when an epoch was opened, where its name tells it: names sort by that."""
    try:
        return rfc3339(int(epoch.replace("-", "")[:12], 16) * 1_000_000)
    except ValueError:
        return epoch
