"""Many hosts at once: limits hold, nothing is counted twice, nothing gets lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from tests.contract.authority.kits import Kit
from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tollspan.budget import Grant, SharedAuthority

WIDE = account("wide", limit=3_000)
NARROW = account("narrow", limit=1_000)
HOSTS = 8


def at_once(kit: Kit, work: Callable[[SharedAuthority, random.Random], None]) -> None:
    """Run a function for several hosts at the same time, and raise what it raises."""
    start = threading.Barrier(HOSTS)
    errors: list[BaseException] = []

    def run(seed: int) -> None:
        authority = kit.other()
        try:
            start.wait()
            work(authority, random.Random(seed))
        except BaseException as error:
            errors.append(error)
        finally:
            if authority is not kit.authority:
                authority.close()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(HOSTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_hosts_that_ask_at_once_get_no_more_than_the_limit_together(kit: Kit) -> None:
    got: list[int] = []
    at_once(kit, lambda authority, chance: ask_alone(authority, got))
    assert sum(got) == 1_000
    assert sums(kit.authority, NARROW) == (0, 1_000, 0)


def ask_alone(authority: SharedAuthority, got: list[int]) -> None:
    """Ask for ten at a time until nothing is left; then say how much came."""
    holder = Holder(authority)
    known = 0
    while isinstance(answer := holder.asks(NARROW, 10, known=known), Grant):
        known = answer.totals[0]
    got.append(known)


def test_linked_accounts_are_granted_together_however_many_ask(kit: Kit) -> None:
    def ask(authority: SharedAuthority, chance: random.Random) -> None:
        holder = Holder(authority)
        known = 0
        wants = [WIDE, NARROW]
        while True:
            chance.shuffle(wants)
            answer = holder.sends(*(want(where, 10, known=known) for where in wants))
            if not isinstance(answer, Grant):
                return
            known += 10
            assert answer.totals == (known, known)

    at_once(kit, ask)
    assert sums(kit.authority, WIDE) == sums(kit.authority, NARROW) == (0, 1_000, 0)


def test_a_random_life_of_many_hosts_adds_up(kit: Kit) -> None:
    spent: list[int] = []

    def live(authority: SharedAuthority, chance: random.Random) -> None:
        holder = Holder(authority)
        known = returned = left = 0
        for _ in range(25):
            answer = holder.asks(NARROW, chance.randint(1, 40), 60, known=known)
            if isinstance(answer, Grant):
                left += answer.totals[0] - known
                known = answer.totals[0]
            cost = chance.randint(0, left)
            told = settlement(holder.lease.id, (NARROW, cost, 0))
            for _ in range(chance.randint(1, 2)):
                authority.settle([told])
            spent.append(cost)
            back = chance.randint(0, left - cost)
            left -= cost + back
            returned += back
            for _ in range(chance.randint(1, 2)):
                holder.gives(NARROW, back, total=returned)
            assert sum(sums(authority, NARROW)) <= NARROW.limit
        holder.gives(NARROW, left, total=returned + left, is_last=True, known=known)

    at_once(kit, live)
    assert sums(kit.authority, NARROW) == (sum(spent), 0, 0)
    assert sum(spent) <= NARROW.limit


def test_one_call_settled_by_many_at_once_is_settled_once(kit: Kit) -> None:
    told = [settlement(None, (WIDE, 1, 0)) for _ in range(50)]

    def settle(authority: SharedAuthority, chance: random.Random) -> None:
        mine = told.copy()
        chance.shuffle(mine)
        authority.settle(mine[:25])
        for one in mine[25:]:
            authority.settle([one])

    at_once(kit, settle)
    assert sums(kit.authority, WIDE) == (50, 0, 0)


def test_one_lease_asked_by_many_threads_is_granted_what_its_answers_say(kit: Kit) -> None:
    holder = Holder(kit.authority)
    at_once(kit, lambda authority, chance: ask_alike(authority, holder))
    assert sums(kit.authority, WIDE) == (0, 5, 0)


def ask_alike(authority: SharedAuthority, holder: Holder) -> None:
    """Tell one question ten times: it is granted once."""
    for _ in range(10):
        answer = authority.grant(holder.lease, [want(WIDE, 5)])
        assert isinstance(answer, Grant)
        assert answer.totals == (5,)
