"""What every authority and its books promise of calls that were accepted as jobs."""

from __future__ import annotations

import threading

import msgspec
import pytest

from tests.contract.ledger.kits import Kit
from tests.contract.ledger.making import NOON_UNIX_NS, account, call, hold, settled
from tollspan.budget import Account, DeferredHold, Hold
from tollspan.usage import DecisionNote, UsageEvent


def job(held: Hold, job_id: str = "job-1", part: int = 0) -> DeferredHold:
    """Make a job of a call that holds."""
    return DeferredHold(
        provider="openai",
        job_id=job_id,
        part=part,
        call=call(held.call_id),
        note=DecisionNote(bound_nanousd=held.legs[0][1]),
        hold=held,
        deferred_at_unix_ns=NOON_UNIX_NS,
    )


def begun(kit: Kit, all_: Account, amount: int = 90, job_id: str = "job-1") -> Hold:
    """Hold for a call, and have it accepted as a job."""
    held = hold((all_, amount))
    assert kit.ledger.hold(held) is None
    assert kit.ledger.defer(job(held, job_id))
    return held


def end(kit: Kit, cost: int, job_id: str = "job-1") -> UsageEvent:
    """Settle the one call of a job."""
    (kept,) = kit.ledger.deferred("openai", job_id)
    assert kept.hold is not None
    event = kept.named(settled(kept.hold, cost))
    kit.ledger.post(event, kept.hold)
    return event


def test_what_a_job_holds_stays_held(kit: Kit) -> None:
    all_ = account(limit=100)
    begun(kit, all_)
    kit.drain()
    assert kit.balance(all_) == (0, 90, 0)
    assert kit.ledger.hold(hold((all_, 11))) is not None
    assert kit.ledger.hold(hold((all_, 10))) is None


def test_a_job_is_found_by_its_provider_and_its_id(kit: Kit) -> None:
    held = begun(kit, account(limit=100))
    (found,) = kit.ledger.deferred("openai", "job-1")
    assert found.call == call(held.call_id)
    assert found.hold is not None
    assert found.hold.legs == held.legs
    assert kit.ledger.deferred("anthropic", "job-1") == ()
    assert kit.ledger.deferred("openai", "job-2") == ()


def test_the_end_of_a_job_gives_back_what_it_did_not_cost(kit: Kit) -> None:
    all_ = account(limit=100)
    held = begun(kit, all_)
    end(kit, 30)
    assert kit.balance(all_) == (30, 0, 0)
    assert kit.ledger.deferred("openai", "job-1") == ()
    assert [one.call.id for one in kit.events()] == [held.call_id]
    kit.drain()
    assert kit.ledger.hold(hold((all_, 70))) is None


def test_a_job_that_cost_more_than_it_held_is_posted_in_full(kit: Kit) -> None:
    all_ = account(limit=100)
    begun(kit, all_, 40)
    end(kit, 120)
    assert kit.balance(all_) == (120, 0, 0)


def test_a_job_whose_end_is_seen_twice_is_settled_once(kit: Kit) -> None:
    all_ = account(limit=100)
    begun(kit, all_)
    event = end(kit, 30)
    kit.ledger.post(event, None)
    assert kit.balance(all_) == (30, 0, 0)


def test_a_job_whose_end_many_see_at_once_is_settled_once(kit: Kit) -> None:
    all_ = account(limit=100)
    begun(kit, all_)
    (kept,) = kit.ledger.deferred("openai", "job-1")
    assert kept.hold is not None
    event = kept.named(settled(kept.hold, 30))
    threads = [threading.Thread(target=kit.ledger.post, args=(event, kept.hold)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kit.balance(all_) == (30, 0, 0)
    assert len(kit.events()) == 1


def test_a_job_that_is_kept_twice_is_held_once(kit: Kit) -> None:
    all_ = account(limit=100)
    held = begun(kit, all_, 40)
    assert kit.ledger.defer(job(held))
    assert kit.balance(all_) == (0, 40, 0)


def test_a_second_call_can_not_be_the_same_job(kit: Kit) -> None:
    all_ = account(limit=100)
    first = begun(kit, all_, 40)
    second = hold((all_, 40))
    kit.ledger.hold(second)
    assert not kit.ledger.defer(job(second))
    assert [one.call.id for one in kit.ledger.deferred("openai", "job-1")] == [first.call_id]
    kit.ledger.post(settled(second, 7), second)
    assert kit.balance(all_) == (7, 40, 0)


def test_several_calls_are_one_job_by_their_parts(kit: Kit) -> None:
    all_ = account(limit=100)
    holds = [hold((all_, 20)) for _ in range(3)]
    for part, held in reversed(list(enumerate(holds))):
        kit.ledger.hold(held)
        assert kit.ledger.defer(job(held, part=part))
    found = kit.ledger.deferred("openai", "job-1")
    assert [one.call.id for one in found] == [one.call_id for one in holds]
    for one in found:
        assert one.hold is not None
        kit.ledger.post(one.named(settled(one.hold, 1)), one.hold)
    assert kit.balance(all_) == (3, 0, 0)


def test_a_call_that_has_ended_is_no_job_any_more(kit: Kit) -> None:
    all_ = account(limit=100)
    held = hold((all_, 40))
    kit.ledger.hold(held)
    kit.ledger.post(settled(held, 7), held)
    assert not kit.ledger.defer(job(held))
    assert kit.ledger.deferred("openai", "job-1") == ()
    assert kit.balance(all_) == (7, 0, 0)


def test_a_job_that_no_budget_touches_is_kept_too(kit: Kit) -> None:
    untouched = msgspec.structs.replace(job(hold((account(), 1))), hold=None)
    assert kit.ledger.defer(untouched)
    (kept,) = kit.ledger.deferred("openai", "job-1")
    assert kept.hold is None


@pytest.mark.parametrize("unit", ["calls", "tokens"])
def test_what_is_no_money_is_held_for_a_job_too(kit: Kit, unit: str) -> None:
    money = account("usd", limit=100)
    other = account("other", limit=100, unit=unit)
    held = hold((money, 90), (other, 5))
    kit.ledger.hold(held)
    assert kit.ledger.defer(job(held))
    assert (kit.balance(money), kit.balance(other)) == ((0, 90, 0), (0, 5, 0))
    end(kit, 3)
    assert (kit.balance(money), kit.balance(other)) == ((3, 0, 0), (3, 0, 0))
