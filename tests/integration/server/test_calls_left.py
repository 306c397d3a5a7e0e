"""What a server that was killed has left of calls over HTTP, another one ends; nothing is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from tests.contract.ledger.making import account
from tollspan.budget import Balance, CallLeases, Hold, LeaseSettings, MemoryAuthority, Refusal
from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import CentralLedger
from tollspan.pricing import PriceBook
from tollspan.server import ServerSettings
from tollspan.server.authority import Authorities
from tollspan.server.calls.authorizing import Authorizer
from tollspan.server.calls.questions import AuthorizeQuestion, CallEndQuestion, UsageWords
from tollspan.server.calls.settling import CallEnds
from tollspan.server.gates import TenantGates
from tollspan.server.rules import RulesInForce

_RULES = "version: 1\nbudgets: [{id: all, limit: 0.01 USD, window: month}]\n"
_ASKED = AuthorizeQuestion(
    call_id="c", provider="openai", model="gpt-4o-mini", max_input_tokens=10, max_output_tokens=10
)
_SAID = CallEndQuestion(call_id="c", usage=UsageWords(output=10))


class Replica:
    """What one server has to decide on calls and to end them."""

    def __init__(self, ledger: CentralLedger, authorities: TenantAuthorities) -> None:
        settings = ServerSettings(database="")
        holders = Authorities(ledger, authorities)
        book = PriceBook.load()
        rules = RulesInForce(ledger.rules)
        gates = TenantGates(holders, rules, book, hold_seconds=60, store=ledger.events.store)
        self.authorizer = Authorizer(ledger, gates, hold_seconds=60)
        self.ends = CallEnds(
            ledger, holders, gates, book, settings, clock=lambda: time.time_ns() + 60 * 10**9
        )

    def standing(self, authorities: TenantAuthorities) -> tuple[int, int, int]:
        (found,) = authorities.of("acme").accounts("", 10).balances
        return found.posted, found.held, found.unresolved


@pytest.fixture
def books(tmp_path: Path) -> Iterator[tuple[CentralLedger, TenantAuthorities]]:
    address = f"sqlite:{tmp_path / 'money.db'}"
    with (
        closing(CentralLedger(f"sqlite:{tmp_path / 'server.db'}")) as ledger,
        closing(TenantAuthorities(address, LeaseSettings(wait_seconds=10))) as authorities,
    ):
        ledger.tenants.create("acme", actor="test")
        ledger.rules.put("acme", _RULES, actor="test")
        yield ledger, authorities


def test_another_replica_settles_what_one_let_through(
    books: tuple[CentralLedger, TenantAuthorities],
) -> None:
    ledger, authorities = books
    Replica(ledger, authorities).authorizer.authorize("acme", _ASKED)
    other = Replica(ledger, authorities)
    answer = msgspec.json.decode(other.ends.settle("acme", _SAID))
    assert answer["cost_nanousd"] == "6000"
    assert other.standing(authorities) == (6_000, 0, 0)


@pytest.mark.parametrize("is_stored", [False, True])
def test_an_end_that_a_killed_server_has_noted_is_brought_to_its_end(
    books: tuple[CentralLedger, TenantAuthorities],
    is_stored: bool,
) -> None:
    ledger, authorities = books
    first = Replica(ledger, authorities)
    first.authorizer.authorize("acme", _ASKED)
    call = ledger.held_calls.find("acme", "c")
    assert call is not None
    noted = first.ends._begin_end("acme", call, _SAID, _SAID.digest())
    assert noted.state == "ending"
    if is_stored:
        first.ends._finish("acme", noted)
        ledger.held_calls.move("acme", "c", ("ended",), "ending")  # killed before this was noted
    other = Replica(ledger, authorities)
    assert other.ends.finish_some() == 1
    assert other.ends.finish_some() == 0
    assert other.standing(authorities) == (6_000, 0, 0)
    assert msgspec.json.decode(other.ends.settle("acme", _SAID))["cost_nanousd"] == "6000"
    assert other.standing(authorities) == (6_000, 0, 0)


def test_a_hold_whose_answer_was_lost_is_had_by_the_same_call_again(
    books: tuple[CentralLedger, TenantAuthorities],
) -> None:
    ledger, authorities = books
    first = Replica(ledger, authorities)
    gate = first.authorizer._gates.of("acme")
    call = _ASKED.call("c", "acme", time.time_ns())
    gate.gate.authorize(call)  # and is killed: nothing is kept of it
    before = first.standing(authorities)
    assert before[1] > 0
    other = Replica(ledger, authorities)
    assert msgspec.json.decode(other.authorizer.authorize("acme", _ASKED))["decision"] == "allow"
    assert other.standing(authorities) == before
    other.ends.settle("acme", _SAID)
    assert other.standing(authorities) == (6_000, 0, 0)


def test_what_a_lease_for_one_call_holds_is_given_back_or_left() -> None:
    authority = MemoryAuthority()
    authority.open_epoch()
    leases = CallLeases(authority)
    where = account("all", limit=100)
    hold = Hold(call_id="a", started_at_unix_ns=0, legs=((where, 60),))
    assert leases.hold(hold) is None
    assert leases.hold(hold) is None
    refusal = leases.hold(Hold(call_id="b", started_at_unix_ns=0, legs=((where, 60),)))
    assert isinstance(refusal, Refusal)
    assert leases.balances([where]) == (Balance(account=where, held=60),)
    leases.release_soon("a")
    leases.release_soon("a")
    assert leases.balances([where]) == (Balance(account=where),)
    assert (
        leases.hold_soon(Hold(call_id="c", started_at_unix_ns=0, legs=((where, 100),))).result()
        is None
    )
    assert leases.leave("c") is not None
    leases.release_soon("c")
    assert leases.balances([where]) == (Balance(account=where, held=100),)
