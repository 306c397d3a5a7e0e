"""Makes a call fit that does not: with a cheaper model, and by how much it may write.

Nothing is asked of an authority here: whoever drives the steps holds what they yield.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from tollspan.usage import TOOL_PROVIDER, Bound, Call, Request

from .plans import Plan
from .rules import CLAMP_MINIMUM_TOKENS, SHARPEST_FIRST, Budget
from .values import Account, Balance, Decision, Hold, Refusal

# Other callers may take the room that was just seen: then it is looked at anew, so often.
_MOST_TRIES = 3
# Tokens between two bounds from which the price of one is told, exactly: of any price in the book,
# so many cost a whole number of nano-USD.
_FAR_TOKENS = 1_000_000
_CHANGEABLE = ("instrumentor", "http")
_Name = tuple[str, str, str, str]
Prepare = Callable[[Call], Decision | tuple[Hold, Bound, Plan]]


class Fitted(NamedTuple):
    """A form of a call that is held.

    Attributes:
        request: The request in this form.
        hold, bound: What it can cost; no hold where no budget counts this form.
        rule_ids: The rules that had it changed, and the soft ones that it does not fit.
    """

    request: Request
    hold: Hold | None
    bound: Bound
    rule_ids: tuple[str, ...]


class Fitter:
    """Changes one call until it is held, or nothing more can be changed.

    Args:
        call: The call, as it was asked for.
        budgets: The budgets in force, by id.
        prepare: Bounds a call anew, and finds its accounts.
        most_output: Says how much the model of a call writes at most; None where nobody knows.
        clamps_all: Its output may be limited for every budget's sake: the program set no limit.

    Attributes:
        first, refusal: The accounts that had no room for it at first and last, the sharpest first.
    """

    def __init__(
        self,
        call: Call,
        refusal: Refusal,
        budgets: Mapping[str, Budget],
        prepare: Prepare,
        most_output: Callable[[Call], int | None],
        *,
        clamps_all: bool,
    ) -> None:
        self._call = call
        self._budgets = budgets
        self._prepare = prepare
        self._most_output_of = most_output
        self._models = {call.request.model.lower()}
        self._clamps_all = clamps_all
        self._most_output = call.request.max_output_tokens
        self._rule_ids: dict[str, None] = {}  # in the order in which they spoke
        self.first = self.refusal = sharpest_first(refusal, budgets)

    def steps(self) -> Generator[Hold, Refusal | None, Fitted | None]:
        """Yield what is to be held, and take the answer; None when the call can't be made to fit.

        The authority's failure is thrown in.
        """
        for _ in range(_MOST_TRIES):
            request = self._change()
            if request is None:
                return None
            self._rule_ids.update(
                dict.fromkeys(one.account.budget_id for one in self.refusal.balances)
            )
            self._call = msgspec.structs.replace(self._call, request=request)
            ready = self._prepare(self._call)
            if isinstance(ready, Decision):
                return self._decided(ready)
            hold, bound, plan = ready
            answer = yield hold
            if answer is None or answer.is_held:
                soft = answer.balances if answer is not None else ()
                self._rule_ids.update(dict.fromkeys(one.account.budget_id for one in soft))
                if plan.change is not None:
                    request = plan.change.request
                return Fitted(request, hold, bound, tuple(self._rule_ids))
            self.refusal = sharpest_first(answer, self._budgets)
        return None

    def _change(self) -> Request | None:
        """Return what the call may be so that those fit that had no room; None for nothing."""
        if not may_change(self._call):
            return None
        least, other_model = 0, None
        for balance in self.refusal.balances:
            budget = self._budgets.get(balance.account.budget_id)
            model = None if budget is None else self._elsewhere(budget)
            minimum = self._minimum(budget)
            if model is None and minimum is None:
                return None
            other_model = other_model or model
            least = max(least, minimum or 0)
        return self._clamped(least) if other_model is None else self._rerouted(other_model)

    def _decided(self, decision: Decision) -> Fitted | None:
        """Take a form of the call that asks nothing of any budget; one that is refused is none."""
        if decision.denial is not None:
            return None
        change, note = decision.change, decision.note
        request = self._call.request if change is None else change.request
        bound = Bound(amount_nanousd=note.bound_nanousd, reasons=note.bound_reasons)
        return Fitted(request, decision.hold, bound, tuple(self._rule_ids))

    def _elsewhere(self, budget: Budget) -> str | None:
        """Return the model that a budget has the call go out with, if it was not tried yet."""
        asked = self._call.request.model.lower()
        for pattern, model in budget.reroute if asked else ():
            if fnmatchcase(asked, pattern.lower()):
                return None if model.lower() in self._models else model
        return None

    def _rerouted(self, model: str) -> Request:
        """Return the request for another model, with no more output than that one writes."""
        self._models.add(model.lower())
        request = msgspec.structs.replace(self._call.request, model=model)
        if request.max_output_tokens is not None:
            call = msgspec.structs.replace(self._call, request=request)
            most = min(request.max_output_tokens, self._most_output_of(call) or sys.maxsize)
            request = msgspec.structs.replace(request, max_output_tokens=most)
        self._most_output = request.max_output_tokens
        return request

    def _minimum(self, budget: Budget | None) -> int | None:
        minimum = None if budget is None else budget.clamp_minimum_tokens
        if minimum is None and self._clamps_all:
            return CLAMP_MINIMUM_TOKENS
        return minimum

    def _clamped(self, least: int) -> Request | None:
        """Limit the output to the most that fits every account without room, if that is enough."""
        balances = self.refusal.balances
        low, high = self._amounts(least), self._amounts(least + _FAR_TOKENS)
        if low is None or high is None:
            return None
        most = self._most_output
        if most is None:
            most = self._most_output_of(self._call) or self._limit_held(low, high, least)
            self._most_output = most
        for balance, at_least, far in zip(balances, low, high, strict=True):
            if not balance.fits(at_least):
                return None
            if far > at_least:
                room = _room(balance) - at_least
                fitting = least + room * _FAR_TOKENS // (far - at_least)
                most = fitting if most is None else min(most, fitting)
        if most is None or most < least:
            return None
        if most != self._most_output and self._fit(most + 1):  # bounds are rounded up
            most += 1
        return self._limited(most)

    def _limit_held(self, low: list[int], high: list[int], least: int) -> int | None:
        """Return the limit that is held where the call has none: the model's own."""
        for asked, at_least, far in zip(self.refusal.asked, low, high, strict=True):
            if far > at_least:
                each = far - at_least
                return least + ((asked - at_least) * _FAR_TOKENS + each // 2) // each
        return None

    def _fit(self, output_tokens: int) -> bool:
        amounts = self._amounts(output_tokens)
        return amounts is not None and all(
            balance.fits(amount)
            for balance, amount in zip(self.refusal.balances, amounts, strict=True)
        )

    def _amounts(self, output_tokens: int) -> list[int] | None:
        """Return what each account without room would hold for so much output."""
        call = msgspec.structs.replace(self._call, request=self._limited(output_tokens))
        ready = self._prepare(call)
        if isinstance(ready, Decision):
            return None
        amounts = {_name(account): amount for account, amount in ready[0].legs}
        return [amounts.get(_name(one.account), 0) for one in self.refusal.balances]

    def _limited(self, output_tokens: int) -> Request:
        return msgspec.structs.replace(self._call.request, max_output_tokens=output_tokens)


def may_change(call: Call) -> bool:
    """Say whether what goes out is ours to change: a program's own tool is not, nor a span.

    Who asks over HTTP is told what to send.
    """
    return call.door in _CHANGEABLE and call.request.provider != TOOL_PROVIDER


def sharpest_first(refusal: Refusal, budgets: Mapping[str, Budget]) -> Refusal:
    """Return a refusal with the accounts whose rules are the sharpest in front."""
    pairs = list(zip(refusal.balances, refusal.asked, strict=True))
    pairs.sort(key=lambda pair: _sharpness(budgets.get(pair[0].account.budget_id)))
    return msgspec.structs.replace(
        refusal,
        balances=tuple([balance for balance, _ in pairs]),
        asked=tuple([asked for _, asked in pairs]),
    )


def _sharpness(budget: Budget | None) -> int:
    return 0 if budget is None else SHARPEST_FIRST.index(budget.on_exceed)


def _room(balance: Balance) -> int:
    return balance.account.limit - balance.counted


def _name(account: Account) -> _Name:
    return account.budget_id, account.scope, account.period, account.unit
