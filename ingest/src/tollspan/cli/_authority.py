"""`tollspan authority`: opens, fills and shows the authority that many hosts share."""

from __future__ import annotations

import argparse

from tollspan.usage import rfc3339

from ._in_force import shared_accounts
from ._terminal import print_json


def open_(parsed: argparse.Namespace) -> int:
    """Let a shared authority grant, in a new epoch: leases of older ones are over."""
    with shared_accounts(parsed.url) as shared:
        authority = shared.authority
        was = authority.epoch()
        if was is not None and not parsed.anew:
            print(f"{authority.place} is open since {opened_at(was)}; --anew ends all its leases")
            return 0
        print(f"{authority.place} is open: epoch {authority.open_epoch()}")
    return 0


def fill(parsed: argparse.Namespace) -> int:
    """Tell a shared authority what this host's events charge, those it was told of before too."""
    with shared_accounts(parsed.url) as shared:
        place = shared.authority.place
        print(f"{shared.fill()} events of this host were told to {place}; each counts once")
        if shared.authority.epoch() is None:
            print("it is not open yet: once every host has told its own, run")
            print(f"  tollspan authority open {shared.address if parsed.url else ''}".rstrip())
    return 0


def status(parsed: argparse.Namespace) -> int:
    """Say whether a shared authority grants, and what waits to be settled with it."""
    with shared_accounts(parsed.url) as shared:
        epoch = shared.authority.epoch()
        shared.sweep()
        open_money = shared.unresolved()
        waiting = shared.unsettled()
        place = shared.authority.place
    if parsed.json:
        print_json(
            {
                "authority": place,
                "epoch": epoch,
                "unsettled_events": waiting,
                "unresolved": [
                    {
                        "lease": one.call_id,
                        "budget": one.account.budget_id,
                        "scope": one.account.scope,
                        "period": one.account.period,
                        "unit": one.account.unit,
                        "amount": str(one.amount),
                        "since": rfc3339(one.started_at_unix_ns),
                    }
                    for one in open_money
                ],
            }
        )
    else:
        print(f"{place} {state_words(epoch)}")
        print(f"{waiting} events of this host wait to be settled with it")
        print(f"{len(open_money)} amounts of ended leases are unresolved")
    return 0 if epoch is not None else 1


def state_words(epoch: str | None) -> str:
    """Say whether an authority grants."""
    if epoch is None:
        return "is not open: it grants nothing"
    return f"is open since {opened_at(epoch)}"


def opened_at(epoch: str) -> str:
    """Say when an epoch was opened, where its name tells it: names sort by that."""
    try:
        return rfc3339(int(epoch.replace("-", "")[:12], 16) * 1_000_000)
    except ValueError:
        return epoch
