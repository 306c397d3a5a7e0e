"""Who may lower what is counted: no call does that, only an operator, so only by an admin's key."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from tollspan.budget import RefusedWords, SettleAnswer, Settlement, SettleQuestion, lowers
from tollspan.ledger.central import MOST_CHARGES_NOTED, charges_noted
from tollspan.server.principals import Principal

from .noting import CREDITED, credit_noted
from .standing import Authorities

_WHY: Final = (
    "it lowers what is counted, as `tollspan budget raise`, `set` and `reset` do: only a key with "
    "the scope admin may"
)
_KNOWN_SECONDS: Final = 34 * 86_400
"""So long a posting may be told again by any key; authorities know for longer what they settled."""


def settle(
    authorities: Authorities,
    who: Principal,
    asked: SettleQuestion,
    *,
    clock: Callable[[], int] = time.time_ns,
) -> SettleAnswer:
    """Charge finished calls, each once, but for what only an admin may and another key asks.

    What an admin has credited, and what is told again just so, is nobody's own: a host tells its
    events anew to an authority that has lost what it knew.

    Raises:
        LedgerError: The authority can't answer, or it can't be noted what an admin does.
    """
    settlements = asked.values()
    lowering = [one for one in settlements if lowers(one.charges)]
    may = "admin" in who.scopes
    refused = [] if may else _unknown(authorities, who.tenant, lowering, clock())
    without = {id(one) for one in refused}
    taken = [one for one in settlements if id(one) not in without] if refused else settlements
    authorities.of(who.tenant).settle(taken)
    for one in lowering if may else ():
        noted = credit_noted(one)
        authorities.note_once(who.tenant, who.actor, noted.action, noted.subject, **noted.details)
    if refused:
        authorities.complain_of_credits(f"{who.actor} of tenant {who.tenant}: {_WHY}")
    return SettleAnswer(
        refused=tuple([RefusedWords(call_id=one.call_id, why=_WHY) for one in refused])
    )


def _unknown(
    authorities: Authorities, tenant: str, lowering: Sequence[Settlement], now_unix_ns: int
) -> list[Settlement]:
    """Return those that no admin has made, with these charges, of late."""
    if not lowering:
        return []
    since = now_unix_ns - _KNOWN_SECONDS * 1_000_000_000
    names = [one.call_id for one in lowering]
    known = authorities.noted(tenant, CREDITED, names, since_unix_ns=since)
    return [one for one in lowering if known.get(one.call_id) != _whole(one)]


def _whole(one: Settlement) -> dict[str, object] | None:
    """Return how a settlement would be noted; None where not all of it would be."""
    return charges_noted(one.charges) if len(one.charges) <= MOST_CHARGES_NOTED else None
