"""How accounts stand, where an authority has them that many hosts share."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from tollspan.budget import OWN_AUTHORITIES, Account, Balance, SharedAuthority
from tollspan.launch import Settings
from tollspan.ledger import OpenHold, open_authority


def is_shared(settings: Settings) -> bool:
    """Say whether the accounts are with an authority that many hosts share."""
    return settings.authority not in OWN_AUTHORITIES


def shared_authority(settings: Settings) -> contextlib.closing[SharedAuthority]:
    """Open the authority that many hosts share, for a block."""
    return contextlib.closing(open_authority(settings.authority, settings.lease))


def ask_standing(settings: Settings, accounts: Sequence[Account]) -> tuple[Balance, ...]:
    """Return how accounts stand over all hosts; this one's ledger only knows of them.

    Raises:
        LedgerError: The authority can't answer.
    """
    with shared_authority(settings) as authority:
        return authority.balances(accounts)


def ask_unresolved(settings: Settings) -> list[OpenHold]:
    """Return what ended leases of all hosts leave open, each by its lease.

    Raises:
        LedgerError: The authority can't answer.
    """
    with shared_authority(settings) as authority:
        authority.expire()
        return [
            OpenHold(
                call_id=one.lease_id,
                account=one.account,
                amount=one.amount,
                started_at_unix_ns=one.since_unix_ns,
                is_unresolved=True,
            )
            for one in authority.unresolved()
        ]
