"""Which period of an idle window an owner is in, by the clock of a shared authority."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.contract.authority.kits import Kit
from tests.contract.authority.making import Holder
from tests.contract.idle import IDLE_SECONDS, account, touch
from tollspan.budget import Grant
from tollspan.usage import LedgerUnavailableError


def test_what_a_lease_holds_keeps_a_period_alive(kit: Kit) -> None:
    first = kit.authority.touch(touch(1))
    holder = Holder(kit.authority)
    assert isinstance(holder.asks(account(first), 10), Grant)
    for seconds in range(0, 2 * IDLE_SECONDS, 20):
        kit.advance(20)
        holder.renews()
        assert kit.authority.touch(touch(seconds + 2, is_look=True)) == first
    assert kit.authority.touch(touch(2)) == first
    holder.gives(account(first), 10, is_last=True)
    kit.advance(IDLE_SECONDS * 1.1)
    assert kit.authority.touch(touch(3)) != first


def test_a_lease_that_expired_keeps_no_period_alive(kit: Kit) -> None:
    first = kit.authority.touch(touch(1))
    assert isinstance(Holder(kit.authority).asks(account(first), 10), Grant)
    kit.advance(IDLE_SECONDS * 1.1)
    assert kit.authority.touch(touch(2)) != first


def test_what_is_spent_keeps_no_period_alive(kit: Kit) -> None:
    first = kit.authority.touch(touch(1))
    Holder(kit.authority).spends(account(first), 10, unresolved=5)
    kit.advance(IDLE_SECONDS * 1.1)
    assert kit.authority.touch(touch(2)) != first


def test_an_authority_that_is_not_open_begins_no_period(kit: Kit) -> None:
    kit.authority.touch(touch(1))
    kit.lose()
    with pytest.raises(LedgerUnavailableError):
        kit.authority.touch(touch(2))
    look = touch(2, is_look=True)
    assert kit.authority.touch(look) == look.account.period


def test_one_that_has_lost_all_takes_the_period_of_a_holder_that_knows_it(kit: Kit) -> None:
    first = kit.authority.touch(touch(1))
    kit.lose()
    kit.authority.open_epoch()
    other = kit.other()
    known = touch(1, is_known=True)
    assert other.touch(known) == first
    assert other.touch(touch(2)) == first


def test_one_from_a_backup_takes_the_later_period_of_a_holder_that_knows_it(kit: Kit) -> None:
    kit.authority.touch(touch(1))
    kit.backup()
    kit.advance(IDLE_SECONDS * 1.1)
    second = kit.authority.touch(touch(2))
    kit.restore()
    kit.authority.open_epoch()
    assert kit.other().touch(touch(2, is_known=True)) == second
    assert kit.other().touch(touch(3)) == second


def test_clients_that_ask_at_once_are_told_the_same_period(kit: Kit) -> None:
    clients = [kit.other() for _ in range(6)]
    for round_ in range(4):
        with ThreadPoolExecutor(len(clients)) as pool:
            said = [
                pool.submit(client.touch, touch(round_ * 10 + number))
                for number, client in enumerate(clients)
            ]
            found = [one.result() for one in said]
        assert len(set(found)) == 1
        kit.advance(IDLE_SECONDS * 1.1)
