"""Nothing is granted by an authority that is new, or that has lost what it knew."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.contract.authority.kits import FOREVER, SETTINGS, Kit
from tests.contract.authority.making import Holder, settlement, sums, want
from tests.contract.ledger.making import account
from tollspan.budget import LeaseLostError, Refusal
from tollspan.usage import LedgerUnavailableError

NARROW = account("narrow", limit=100)
OTHER = account("other", limit=100)


def test_without_an_epoch_nothing_is_granted(kit: Kit) -> None:
    kit.lose()
    assert kit.authority.epoch() is None
    with pytest.raises(LedgerUnavailableError, match="tollspan authority open"):
        Holder(kit.authority).sends(want(NARROW, 1))
    assert sums(kit.authority, NARROW) == (0, 0, 0)


def test_without_an_epoch_no_lease_is_renewed(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 10)
    kit.lose()
    with pytest.raises(LedgerUnavailableError):
        holder.renews()


def test_without_an_epoch_calls_are_settled_all_the_same(kit: Kit) -> None:
    kit.lose()
    kit.authority.settle([settlement(None, (NARROW, 70, 0))])
    assert sums(kit.authority, NARROW) == (70, 0, 0)
    kit.authority.open_epoch()
    assert isinstance(Holder(kit.authority).asks(NARROW, 31), Refusal)
    assert Holder(kit.authority).has(NARROW, 30) == 30


def test_an_epoch_has_a_name_of_its_own_that_sorts_behind_older_ones(kit: Kit) -> None:
    first = kit.authority.epoch()
    assert first is not None
    second = kit.authority.open_epoch()
    assert kit.other().epoch() == second
    third = kit.authority.open_epoch()
    assert first < second < third


def test_a_new_epoch_ends_the_leases_of_older_ones(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.authority.open_epoch()
    assert sums(kit.authority, NARROW) == (0, 0, 40)
    assert [one.lease_id for one in kit.authority.unresolved()] == [holder.lease.id]
    for message in (lambda: holder.sends(want(NARROW, 1, known=40)), holder.renews):
        with pytest.raises(LeaseLostError):
            message()
    assert kit.authority.epoch() is not None
    holder.spends(NARROW, 40)
    assert sums(kit.authority, NARROW) == (40, 0, 0)


def test_after_a_loss_and_a_new_epoch_old_leases_are_over_and_shut_nothing(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 40)
    kit.lose()
    kit.advance(1.0)  # epochs sort by when they were opened
    kit.authority.open_epoch()
    for message in (
        holder.renews,
        lambda: holder.sends(want(NARROW, 1, known=40)),
        lambda: holder.gives(NARROW, 40),
    ):
        with pytest.raises(LeaseLostError):
            message()
    assert kit.authority.epoch() is not None
    assert Holder(kit.authority).has(NARROW, 100) == 100


@pytest.mark.parametrize("message", ["grant", "give back", "renew"])
@pytest.mark.parametrize("seconds", [1.0, SETTINGS.life_seconds, SETTINGS.horizon_seconds + 60])
def test_an_old_backup_is_found_out_by_a_lease_that_got_more(
    kit: Kit, seconds: float, message: str
) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 10)
    kit.backup()
    holder.has(NARROW, 10, known=10)
    kit.restore()
    kit.advance(seconds)
    with pytest.raises(LeaseLostError):
        tell(holder, message)
    assert kit.authority.epoch() is None
    with pytest.raises(LedgerUnavailableError):
        Holder(kit.authority).sends(want(OTHER, 1))


@pytest.mark.parametrize("message", ["grant", "give back", "renew"])
def test_an_old_backup_is_found_out_by_a_lease_that_it_does_not_know(
    kit: Kit, message: str
) -> None:
    kit.backup()
    holder = Holder(kit.authority)
    holder.has(NARROW, 10)
    holder.has(NARROW, 10, known=10)
    kit.restore()
    with pytest.raises(LeaseLostError):
        tell(holder, message)
    assert kit.authority.epoch() is None


def test_an_old_backup_is_found_out_by_a_lease_of_an_epoch_that_it_does_not_know(kit: Kit) -> None:
    kit.backup()
    lost = kit.authority.open_epoch()
    holder = Holder(kit.authority)
    holder.has(NARROW, 20)
    kit.restore()
    with pytest.raises(LeaseLostError):
        holder.renews()
    assert kit.authority.epoch() is None
    assert kit.authority.open_epoch() > lost
    with pytest.raises(LeaseLostError):
        holder.renews()
    assert kit.authority.epoch() is not None


def test_what_a_lease_was_told_of_and_is_not_known_shuts_the_authority(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 10)
    with pytest.raises(LeaseLostError):
        holder.sends(want(NARROW, 1, known=11))
    assert kit.authority.epoch() is None


def test_opened_anew_it_grants_again(kit: Kit) -> None:
    holder = Holder(kit.authority)
    told = holder.spends(NARROW, 30)
    kit.backup()
    holder.has(NARROW, 10)
    late = holder.spends(NARROW, 10)
    kit.restore()
    with pytest.raises(LeaseLostError):
        holder.renews()
    kit.authority.settle([told, late])
    kit.authority.open_epoch()
    assert sums(kit.authority, NARROW) == (40, 0, 0)
    assert Holder(kit.authority).has(NARROW, 60) == 60
    assert isinstance(Holder(kit.authority).asks(NARROW, 1), Refusal)


def test_an_old_backup_shuts_nothing_when_no_lease_has_lost_anything(kit: Kit) -> None:
    holder = Holder(kit.authority)
    holder.has(NARROW, 10)
    kit.backup()
    kit.restore()
    assert holder.has(NARROW, 10, known=10) == 20


def test_the_first_to_tell_of_a_share_is_told_so_once(kit: Kit) -> None:
    half, whole = Decimal("0.5"), Decimal(1)
    assert kit.authority.is_first(NARROW, half)
    assert not kit.other().is_first(account("narrow", limit=7), half)
    assert kit.other().is_first(NARROW, whole)
    assert kit.other().is_first(OTHER, half)
    kit.advance(FOREVER)
    assert not kit.authority.is_first(NARROW, whole)


def test_a_client_can_be_closed_and_used_again(kit: Kit) -> None:
    Holder(kit.authority).has(NARROW, 10)
    kit.authority.close()
    kit.authority.close()
    assert sums(kit.authority, NARROW) == (0, 10, 0)


def tell(holder: Holder, message: str) -> None:
    """Send the next message of a lease that knows of 20 in `NARROW`."""
    if message == "grant":
        holder.sends(want(NARROW, 1, known=20))
    elif message == "give back":
        holder.gives(NARROW, 5)
    else:
        holder.renews()
