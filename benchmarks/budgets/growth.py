"""How match and hold grow with the number of budgets defined, and of accounts that exist."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice

from benchmarks.budgets.figures import Growth
from benchmarks.budgets.places import (
    MEMORY,
    POSTGRES_SINGLE,
    REDIS_SINGLE,
    SQLITE,
    SQLITE_LEASES,
    opened,
)
from benchmarks.budgets.servers import Servers
from benchmarks.budgets.timing import Caller
from benchmarks.ledgers import LIMIT_NANOUSD, REQUEST, owners_rules
from tollspan.budget import Account, Budget, RuleSet
from tollspan.pricing import PriceBook
from tollspan.usage import Attribution, Call, new_call_id

RULES = (10, 1_000, 10_000, 100_000)
ACCOUNTS = (1_000, 1_000_000)
MOST_GROWTH = 1.5
_OWNERS = 10
_SESSIONS = 1_000
"""How many of the sessions that have an account call again."""
_NEW = itertools.count()


def measure(servers: Servers, *, is_quick: bool) -> list[Growth]:
    """Measure both."""
    book = PriceBook.load()
    found: list[Growth] = []
    for place in (MEMORY, SQLITE_LEASES):
        for is_new in (False, True):
            found.append(_rules(place, servers, book, is_new=is_new, is_quick=is_quick))
    for place in (MEMORY, SQLITE, REDIS_SINGLE, POSTGRES_SINGLE):
        found += _accounts(place, servers, book, is_quick=is_quick)
    return found


def _rules(name: str, servers: Servers, book: PriceBook, *, is_new: bool, is_quick: bool) -> Growth:
    """Define more and more customers' budgets, of which a call touches one or two.

    Args:
        is_new: Each call is of a session of its own, which has a budget too, so that nothing that
            was worked out for another call serves.
    """
    sizes = RULES[:2] if is_quick else RULES
    with ExitStack() as stack:
        callers = [
            Caller(
                stack.enter_context(opened(name, servers)),
                _with_sessions(owners_rules(size)) if is_new else owners_rules(size),
                book,
            )
            for size in sizes
        ]
        _take_turns(callers, _calls(is_new=is_new), is_quick=is_quick)
    who = "each call in a session of its own" if is_new else "10 customers call"
    return Growth(
        what=f"budgets defined, {who}",
        place=name,
        sizes=list(sizes),
        spots=[caller.held.spot() for caller in callers],
    )


def _accounts(name: str, servers: Servers, book: PriceBook, *, is_quick: bool) -> list[Growth]:
    """Have more sessions with an account each; of which 1,000 call again, or new ones come."""
    sizes = (100, 1_000) if is_quick else ACCOUNTS
    rules = _with_sessions(RuleSet())
    with ExitStack() as stack:
        places = [stack.enter_context(opened(name, servers)) for _ in sizes]
        for place, size in zip(places, sizes, strict=True):
            place.fill(_session_accounts(size))
        found: list[Growth] = []
        for is_new in (False, True):
            callers = [Caller(place, rules, book) for place in places]
            each = [_calls(is_new=is_new, of=size) for size in sizes]
            _take_turns(callers, *each, is_quick=is_quick)
            who = "a new session each call" if is_new else f"{_SESSIONS:,} of their sessions call"
            found.append(
                Growth(
                    what=f"accounts, {who}",
                    place=name,
                    sizes=list(sizes),
                    spots=[caller.held.spot() for caller in callers],
                )
            )
    return found


def _take_turns(callers: list[Caller], *some: Iterator[Call], is_quick: bool) -> None:
    each = itertools.cycle(some)
    steps = 20 if is_quick else 300
    for number in range(2 if is_quick else 12):
        for caller in callers:
            # The first rounds make what every later one finds.
            caller.round(islice(next(each), steps), is_counted=number > (0 if is_quick else 3))


def _with_sessions(rules: RuleSet) -> RuleSet:
    each = Budget(id="session", limit=LIMIT_NANOUSD, per=("session",))
    return RuleSet(budgets=(*rules.budgets, each))


def _session_accounts(size: int) -> Iterator[Account]:
    for number in range(size):
        scope = f'{{"session":"session-{number}"}}'
        yield Account(budget_id="session", scope=scope, period="", limit=LIMIT_NANOUSD)


def _calls(*, is_new: bool, of: int | None = None) -> Iterator[Call]:
    """Return calls of 10 customers, in new sessions or in some that have accounts."""
    for number in itertools.count():
        if is_new:
            session = f"new-{next(_NEW)}"
        elif of is None:
            session = None
        else:  # far apart, so that they lie in pages of their own
            session = f"session-{number % _SESSIONS * (of // min(of, _SESSIONS)) % of}"
        now = time.time_ns()
        yield Call(
            id=new_call_id(now),
            started_at_unix_ns=now,
            request=REQUEST,
            attribution=Attribution(customer=f"customer-{number % _OWNERS}", session=session),
        )
