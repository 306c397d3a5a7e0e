"""Calls that asked over HTTP, and accounts that are used up: kept for all replicas, each once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import msgspec

from tollspan.ledger.central import CentralLedger, HeldCall, SpentAccount

NEVER = 0
ALWAYS = (1 << 63) - 1
CALL = HeldCall(id="c", state="held", asked=b"asked", answer=b"{}", kept=b"kept")


def test_one_of_many_keeps_a_call_and_its_tenant_alone_finds_it(ledger: CentralLedger) -> None:
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: ledger.held_calls.add("acme", CALL), range(8)))
    assert kept.count(True) == 1
    assert ledger.held_calls.find("acme", "c") == CALL
    assert ledger.held_calls.find("other", "c") is None
    assert ledger.held_calls.add("other", msgspec.structs.replace(CALL, state="denied"))


def test_a_call_moves_from_where_it_is_thought_to_be_alone(ledger: CentralLedger) -> None:
    calls = ledger.held_calls
    calls.add("acme", CALL)
    assert not calls.move("acme", "c", ("ending",), "ended")
    assert not calls.move("other", "c", ("held",), "ended")
    with ThreadPoolExecutor(4) as pool:
        told = [bytes([number]) for number in range(8)]
        moved = list(
            pool.map(lambda one: calls.move("acme", "c", ("held",), "ending", told=one), told)
        )
    assert moved.count(True) == 1
    found = calls.find("acme", "c")
    assert found == msgspec.structs.replace(CALL, state="ending", told=told[moved.index(True)])


def test_what_was_begun_is_found_until_it_is_ended_and_then_forgotten(
    ledger: CentralLedger,
) -> None:
    calls = ledger.held_calls
    calls.add("acme", CALL)
    assert calls.unfinished(ALWAYS, 10) == []
    calls.move("acme", "c", ("held",), "cancelling")
    ((tenant, found),) = calls.unfinished(ALWAYS, 10)
    assert (tenant, found.id, found.state) == ("acme", "c", "cancelling")
    assert calls.unfinished(NEVER, 10) == []
    assert calls.forget(ALWAYS, 10) == 0
    calls.move("acme", "c", ("cancelling",), "cancelled")
    assert calls.forget(NEVER, 10) == 0
    assert calls.forget(ALWAYS, 10) == 1
    assert calls.find("acme", "c") is None


def test_accounts_that_are_used_up_are_known_until_they_are_not(ledger: CentralLedger) -> None:
    one = SpentAccount(
        budget_id="org", scope='{"customer":"ü"}', period="2026-11", unit="usd",
        spent=10**20, held=0,
    )  # fmt: skip
    other = msgspec.structs.replace(one, period="2026-12")
    spent = ledger.spent_accounts
    spent.change("acme", [one, other], [])
    more = msgspec.structs.replace(one, spent=10**21)
    spent.change("acme", [more], [other])
    assert [found for found, _ in spent.all("acme")] == [more]
    assert spent.all("other") == []
