"""Whatever holders say, in whatever order, a shared authority answers as the reference does."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.contract.authority.kits import SETTINGS, Kit, MemoryKit
from tests.contract.authority.making import settlement, sums
from tests.contract.ledger.making import account
from tollspan.budget import (
    Account,
    GivenBack,
    Grant,
    Lease,
    Refusal,
    Settlement,
    SharedAuthority,
    Want,
)
from tollspan.usage import LedgerError

BUDGETS = ("one", "soft", "two")
HOLDERS = st.integers(0, 2)
LIFE, HORIZON = SETTINGS.life_seconds, SETTINGS.horizon_seconds
AMOUNTS = st.integers(0, 60) | st.just(1 << 60)
LIMITS = st.integers(0, 400) | st.just(1 << 62)
SECONDS = st.sampled_from([1.0, LIFE - 15, LIFE, LIFE + 15, HORIZON, HORIZON + LIFE])
SHARES = st.sampled_from([Decimal("0.5"), Decimal("0.50"), Decimal(1)])


class Told:
    """What a holder was told of one account, by both sides alike."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.known = self.returned = 0


class Side:
    """One of the two authorities, and the leases as their holders know them there."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        kit.lose()
        self.authority: SharedAuthority = kit.other()
        self.authority.open_epoch()
        self.leases = [Lease(holder=f"holder-{number}") for number in range(3)]


class Lives:
    """Two authorities that are told the same, at random."""

    def __init__(self, kit: Kit, data: st.DataObject) -> None:
        self.data = data
        self.sides: tuple[Side, Side] = (Side(kit), Side(MemoryKit()))
        self.told: dict[tuple[int, str], Told] = {}
        self.limits = dict.fromkeys(BUDGETS, 400)
        self.calls: list[Settlement] = []
        self.has_backup = False
        self.numbers = 0

    def step(self) -> None:
        """Do one thing to both, and see that both are alike afterwards."""
        kinds = [self.ask] * 4 + [self.give] * 3 + [self.settle] * 3 + [self.wait] * 2
        kinds += [self.expire, self.resolve, self.tell, self.begin, self.limit, self.open]
        kinds += [self.back_up, self.restore]
        self.data.draw(st.sampled_from(kinds))()
        first, second = [self.standing(side) for side in self.sides]
        assert first == second

    def standing(self, side: Side) -> object:
        left = [(one.lease_id, one.account, one.amount) for one in side.authority.unresolved()]
        return (
            [sums(side.authority, self.account(name)) for name in BUDGETS],
            sorted(left, key=lambda one: (one[0], one[1].budget_id)),
            side.authority.epoch() is None,
        )

    def both(self, ask: Callable[[Side], object]) -> list[object]:
        """Ask both; return their answers, which are alike but for the names of epochs."""
        answers: list[object] = []
        for side in self.sides:
            try:
                answers.append(ask(side))
            except LedgerError as error:
                answers.append(type(error).__name__)
        plain = [
            msgspec.structs.replace(one, epoch=None) if isinstance(one, Grant) else one
            for one in answers
        ]
        assert plain[0] == plain[1]
        return answers

    def account(self, name: str) -> Account:
        return account(name, limit=self.limits[name], is_soft=name == "soft")

    def part(self, holder: int, name: str) -> Told:
        told = self.told.get((holder, name))
        if told is None:
            self.numbers += 1
            told = self.told[holder, name] = Told(self.numbers)
        return told

    # -- what may happen --

    def ask(self) -> None:
        draw = self.data.draw
        holder = draw(HOLDERS)
        names = draw(st.lists(st.sampled_from(BUDGETS), min_size=1, unique=True))
        wants: list[Want] = []
        for name in names:
            told = self.part(holder, name)
            need = draw(AMOUNTS)
            wants.append(
                Want(
                    account=self.account(name),
                    known=max(0, told.known + draw(st.sampled_from([0] * 12 + [1, -1]))),
                    need=need,
                    wish=need + draw(st.integers(0, 90)),
                    part=told.number,
                )
            )
        answers = self.both(lambda side: side.authority.grant(side.leases[holder], wants))
        if draw(st.booleans()):  # else it is lost
            for side, answer in zip(self.sides, answers, strict=True):
                self.hear(side, holder, names, answer)

    def hear(self, side: Side, holder: int, names: list[str], answer: object) -> None:
        if isinstance(answer, Grant):
            side.leases[holder] = msgspec.structs.replace(
                side.leases[holder], epoch=answer.epoch, heard=answer.number
            )
            for name, total in zip(names, answer.totals, strict=True):
                self.part(holder, name).known = total
        else:
            assert isinstance(answer, Refusal | str)

    def give(self) -> None:
        draw = self.data.draw
        holder, name = draw(HOLDERS), draw(st.sampled_from(BUDGETS))
        told = self.part(holder, name)
        amount = draw(st.integers(0, 40))
        is_last = draw(st.sampled_from([False, False, True]))
        given = GivenBack(
            account=self.account(name),
            amount=amount,
            total=min(told.known, told.returned + amount),
            is_last=is_last,
            part=told.number,
            known=told.known,
        )
        parts = draw(st.sampled_from([[given], [given], []]))
        for _ in range(draw(st.integers(1, 2))):
            self.both(lambda side: side.authority.give_back(side.leases[holder], parts))
        if parts:
            told.returned = given.total
        if parts and is_last and draw(st.sampled_from([True, True, False])):
            del self.told[holder, name]

    def settle(self) -> None:
        draw = self.data.draw
        is_repeated = bool(self.calls) and draw(st.booleans())
        if is_repeated:
            told = draw(st.lists(st.sampled_from(self.calls), max_size=3))
        else:
            lease_id = draw(
                st.sampled_from([None, "nobody/1", *(one.id for one in self.sides[0].leases)])
            )
            names = draw(st.lists(st.sampled_from(BUDGETS), unique=True))
            amounts = st.integers(0, 40)
            told = [
                settlement(
                    lease_id,
                    *((self.account(name), draw(amounts), draw(amounts)) for name in names),
                    drawn=draw(st.none() | amounts),
                )
            ]
            self.calls += told
        self.both(lambda side: side.authority.settle(told))

    def wait(self) -> None:
        seconds = self.data.draw(SECONDS)
        for side in self.sides:
            side.kit.advance(seconds)

    def expire(self) -> None:
        self.both(lambda side: side.authority.expire())

    def resolve(self) -> None:
        left = self.sides[1].authority.unresolved()
        if left:
            one, spent = self.data.draw(st.sampled_from(left)), self.data.draw(AMOUNTS)
            self.both(lambda side: side.authority.resolve(one.lease_id, one.account, spent=spent))

    def tell(self) -> None:
        name, share = self.data.draw(st.sampled_from(BUDGETS)), self.data.draw(SHARES)
        self.both(lambda side: side.authority.is_first(self.account(name), share))

    def begin(self) -> None:
        """Begin another lease, or another part of it, without a word of the old one."""
        holder = self.data.draw(HOLDERS)
        if self.data.draw(st.booleans()):
            for side in self.sides:
                old = side.leases[holder]
                side.leases[holder] = Lease(holder=old.holder, fence=old.fence + 1)
        for name in BUDGETS:
            self.told.pop((holder, name), None)

    def limit(self) -> None:
        self.limits[self.data.draw(st.sampled_from(BUDGETS))] = self.data.draw(LIMITS)

    def open(self) -> None:
        for side in self.sides:
            side.kit.advance(1.0)  # names of one instant come in no order, where one was lost
        self.both(lambda side: side.authority.open_epoch() and None)
        for side in self.sides:  # it may do at once what is due
            side.authority.expire()

    def back_up(self) -> None:
        self.has_backup = True
        for side in self.sides:
            side.kit.backup()

    def restore(self) -> None:
        """Restore what was kept; who asks afterwards has seen nothing later than that."""
        if self.has_backup:
            for side in self.sides:
                side.authority.close()
                side.kit.restore()
                side.authority = side.kit.other()

    def close(self) -> None:
        """Let go of connections."""
        for side in self.sides:
            side.authority.close()


def live(kit: Kit, examples: int, *, is_random: bool) -> None:
    """Live so many lives: the same ones each time, or others."""

    @given(data=st.data())
    @settings(
        max_examples=examples,
        derandomize=not is_random,
        database=None,
        phases=[Phase.generate],  # a shorter failing one takes a server too long to find
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    def one(data: st.DataObject) -> None:
        lives = Lives(kit, data)
        try:
            for _ in range(data.draw(st.integers(1, 40))):
                lives.step()
        finally:
            lives.close()

    one()


def test_it_answers_as_the_reference_does(kit: Kit) -> None:
    live(kit, examples=6, is_random=False)


@pytest.mark.slow
def test_it_answers_as_the_reference_does_for_long(kit: Kit) -> None:
    live(kit, examples=1_000, is_random=True)
