"""A lease for each call, wherever the money of tenants is kept: held, settled, freed, or left."""

from __future__ import annotations

import time

import pytest

from tests.contract.authority.making import settlement, sums
from tollspan.budget import (
    Account,
    CallLeases,
    Hold,
    LeaseLostError,
    ListingAuthority,
    Refusal,
    call_lease,
    release_of,
)
from tollspan.ledger import TenantAuthorities
from tollspan.usage import new_call_id

LONG = 600.0
SHORT = 0.2


@pytest.fixture
def authority(authorities: TenantAuthorities) -> ListingAuthority:
    found = authorities.of("called")
    found.open_epoch()
    return found


def account(limit: int = 100) -> Account:
    return Account(budget_id=new_call_id(time.time_ns()), scope="", period="2026-11", limit=limit)


def hold(where: Account, amount: int, call_id: str | None = None) -> Hold:
    own = call_id or new_call_id(time.time_ns())
    return Hold(call_id=own, started_at_unix_ns=0, legs=((where, amount),))


def test_a_call_that_asks_again_is_held_once_and_settled_once(authority: ListingAuthority) -> None:
    where = account()
    leases, others = CallLeases(authority.lasting(LONG)), CallLeases(authority.lasting(LONG))
    one = hold(where, 60)
    assert leases.hold(one) is None
    assert others.hold(one) is None  # another server, which was asked again
    assert sums(authority, where) == (0, 60, 0)
    refusal = leases.hold(hold(where, 41))
    assert isinstance(refusal, Refusal)
    assert not refusal.is_held
    assert sums(authority, where) == (0, 60, 0)
    told = settlement(call_lease(one.call_id).id, (where, 25, 0), call_id=one.call_id, drawn=60)
    authority.settle([told])
    authority.settle([told])
    assert sums(authority, where) == (25, 0, 0)


def test_a_call_that_asks_again_for_more_is_held_for_that_much(authority: ListingAuthority) -> None:
    where, leases = account(), CallLeases(authority.lasting(LONG))
    one = hold(where, 30)
    assert leases.hold(one) is None
    assert leases.hold(hold(where, 50, one.call_id)) is None  # the rules have changed since
    assert sums(authority, where)[1] >= 50
    assert isinstance(leases.hold(hold(where, 101, one.call_id)), Refusal)


def test_what_is_freed_is_not_freed_twice_and_what_was_used_all_the_same_counts(
    authority: ListingAuthority,
) -> None:
    where, leases = account(), CallLeases(authority.lasting(LONG))
    one, other = hold(where, 60), hold(where, 40)
    assert leases.hold(one) is None
    assert leases.hold(other) is None
    leases.release_soon(one.call_id)
    leases.release_soon(one.call_id)
    authority.settle([release_of(one)])
    assert sums(authority, where) == (0, 40, 0)
    lease_id = call_lease(one.call_id).id
    authority.settle([settlement(lease_id, (where, 25, 0), call_id=one.call_id, drawn=60)])
    assert sums(authority, where) == (25, 40, 0)


def test_a_call_that_takes_too_long_is_unresolved_and_is_corrected_late(
    authority: ListingAuthority,
) -> None:
    where, leases = account(), CallLeases(authority.lasting(SHORT))
    lasting = CallLeases(authority.lasting(LONG))
    slow, gone, long = hold(where, 30), hold(where, 20), hold(where, 10)
    for one in (slow, gone):
        assert leases.hold(one) is None
    assert lasting.hold(long) is None
    give_up_at = time.monotonic() + 30
    while sums(authority, where) != (0, 10, 50):
        assert time.monotonic() < give_up_at, sums(authority, where)
        time.sleep(SHORT / 2)
        authority.expire()
    assert isinstance(leases.hold(hold(where, 41)), Refusal)  # it still counts
    with pytest.raises(LeaseLostError):
        leases.hold(slow)
    lease_id = call_lease(slow.call_id).id
    authority.settle([settlement(lease_id, (where, 5, 0), call_id=slow.call_id, drawn=30)])
    assert sums(authority, where) == (5, 10, 20)
    authority.settle([release_of(gone)])
    assert sums(authority, where) == (5, 10, 0)


def test_a_budget_that_only_warns_is_held_beyond_its_limit(authority: ListingAuthority) -> None:
    where, leases = account(limit=10), CallLeases(authority.lasting(LONG))
    soft = Account(budget_id=where.budget_id, scope="", period=where.period, limit=10, is_soft=True)
    one = hold(soft, 60)
    refusal = leases.hold(one)
    assert isinstance(refusal, Refusal)
    assert refusal.is_held
    assert sums(authority, where) == (0, 60, 0)
    leases.release_soon(one.call_id)
    assert sums(authority, where) == (0, 0, 0)
