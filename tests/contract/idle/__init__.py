"""Idle windows: one suite for every authority, embedded or shared."""

from __future__ import annotations

from tollspan.budget import Account, Touch, idle_key

IDLE_SECONDS = 100
BEGAN_US = 1_795_348_800_000_000


def account(period: str, scope: str = '{"session":"a"}') -> Account:
    """Name the account of a session."""
    return Account(budget_id="session", scope=scope, period=period, limit=1_000)


def touch(
    number: int,
    *,
    scope: str = '{"session":"a"}',
    ago_seconds: float = 0,
    is_known: bool = False,
    is_look: bool = False,
    idle_seconds: int = IDLE_SECONDS,
) -> Touch:
    """Say that a session is active; what is numbered is the period by which a holder goes."""
    return Touch(
        account=account(idle_key(idle_seconds, BEGAN_US + number), scope),
        idle_seconds=idle_seconds,
        ago_ns=int(ago_seconds * 1_000_000_000),
        is_known=is_known,
        is_look=is_look,
    )
