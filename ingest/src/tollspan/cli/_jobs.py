"""`tollspan jobs list|settle|release`: what is held for calls that end elsewhere."""

from __future__ import annotations

import argparse
import time

from tollspan.budget import DeferredHold, Leg, parse_amount, read_scope
from tollspan.launch import ledger_home_in_force
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import Charge, ConfigError, rfc3339, to_decimal, unit_word

from ._adjust import adjustment
from ._event_line import unit_name
from ._events import NOBODY
from ._in_force import accounts_in_force
from ._terminal import Cell, Column, Value, print_json, print_table

_NS_PER_HOUR = 3_600 * 1_000_000_000


def list_(parsed: argparse.Namespace) -> int:
    """List the jobs of this host whose end nobody has seen, oldest first."""
    found = LedgerReader(ledger_home_in_force() / LEDGER_FILE).jobs()
    if parsed.json:
        print_json([_as_json(one) for one in found])
        return 0
    now = time.time_ns()
    print_table(
        (
            Column("accepted (UTC)"),
            Column("age", is_number=True),
            Column("provider"),
            Column("job"),
            Column("model", may_go=True),
            Column("customer", if_any=True),
            Column("budget"),
            Column("held", is_number=True),
            Column("unit"),
        ),
        [_row(one, leg, now) for one in found for leg in _legs(one)],
    )
    return 0


def settle(parsed: argparse.Namespace) -> int:
    """Settle a job by hand: so much was spent, and the rest is free again."""
    return _settle(parsed)


def release(parsed: argparse.Namespace) -> int:
    """Release what is held for a job: nothing was spent."""
    return _settle(parsed)


def _settle(parsed: argparse.Namespace) -> int:
    jobs = [one for one in _jobs() if one.job_id == parsed.job]
    if not jobs:
        raise ConfigError(f"nothing is held for a job {parsed.job!r}; see `tollspan jobs list`")
    providers = sorted({one.provider for one in jobs})
    if parsed.provider is None and len(providers) > 1:
        raise ConfigError(f"several providers have such a job, say --provider: {providers}")
    if parsed.spent is not None and len(jobs) > 1 and len(providers) == 1:
        raise ConfigError(
            f"job {parsed.job!r} is {len(jobs)} calls, for several models: settle it by --all"
        )
    with accounts_in_force() as accounts:
        for one in jobs:
            if parsed.provider in (None, one.provider):
                charges = [_charge(one, leg, parsed.spent, parsed.part) for leg in _held(one)]
                accounts.store(
                    adjustment(
                        "resolve",
                        parsed.reason,
                        charges,
                        lease_id=one.lease_id,
                        call_id=one.call.id,
                    )
                )
                said = [
                    f"{to_decimal(each.posted, each.unit)} {unit_word(each.unit)}"
                    f" in {each.budget_id}"
                    for each in charges
                ]
                spent = ", ".join(dict.fromkeys(said)) or "nothing that a budget counts"
                print(f"{one.job_id}: {spent} was spent; nothing is held any more")
    return 0


def _jobs() -> tuple[DeferredHold, ...]:
    return LedgerReader(ledger_home_in_force() / LEDGER_FILE).jobs()


def _held(one: DeferredHold) -> list[Leg]:
    """Return the accounts that a job's call holds in, and how much."""
    if one.hold is None:
        return []
    amounts = one.drawn or [amount for _, amount in one.hold.legs]
    return [(leg[0], amount) for leg, amount in zip(one.hold.legs, amounts, strict=True)]


def _charge(one: DeferredHold, leg: Leg, spent: str | None, part: str) -> Charge:
    """Charge an account; an amount is in USD, and what counts something else is charged in full."""
    account, held = leg
    posted = held if part == "all" else 0
    if spent is not None and account.unit == "usd":
        posted = parse_amount(spent, "--spent", account.unit)
    return Charge(
        budget_id=account.budget_id,
        scope=account.scope,
        period=account.period,
        unit=account.unit,
        posted=posted,
        drawn=held if one.lease_id is not None else None,
    )


def _legs(one: DeferredHold) -> list[Leg | None]:
    """Return what a job's call holds; None for one that holds nothing."""
    return [*_held(one)] or [None]


def _row(one: DeferredHold, leg: Leg | None, now_unix_ns: int) -> tuple[Value, ...]:
    return (
        rfc3339(one.deferred_at_unix_ns)[:16].replace("T", " "),
        _age(now_unix_ns - one.deferred_at_unix_ns),
        one.provider,
        one.job_id,
        one.call.request.model,
        one.call.attribution.customer or NOBODY,
        Cell("none", "quiet") if leg is None else leg[0].budget_id,
        "" if leg is None else to_decimal(leg[1], leg[0].unit),
        "" if leg is None else unit_word(leg[0].unit),
    )


def _age(nanoseconds: int) -> str:
    hours = max(0, nanoseconds) // _NS_PER_HOUR
    return f"{hours} h" if hours < 72 else f"{hours // 24} d"


def _as_json(one: DeferredHold) -> dict[str, object]:
    return {
        "provider": one.provider,
        "job": one.job_id,
        "call_id": one.call.id,
        "model": one.call.request.model,
        "customer": one.call.attribution.customer,
        "started_at": rfc3339(one.call.started_at_unix_ns),
        "accepted_at": rfc3339(one.deferred_at_unix_ns),
        "held": [
            {
                "budget": account.budget_id,
                "scope": dict(read_scope(account.scope)),
                "period": account.period,
                "unit": unit_name(account.unit),
                "amount": to_decimal(amount, account.unit),
            }
            for account, amount in _held(one)
        ],
    }
