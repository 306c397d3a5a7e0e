"""Asks the budgets in code: would a call be let through, what is left, how much output fits?

Everything here looks, and holds nothing: until the call is made, others may take what is left. What
is read is the ledger: a fraction of a millisecond, longer while other processes write to it. In
async code that matters, call it by `asyncio.to_thread`, which keeps the context.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tollspan import attribution
from tollspan.budget import (
    Balance,
    Headroom,
    Leg,
    Looking,
    fullest,
    headroom_of,
    most_output,
    tightest,
)
from tollspan.instrumentation import Funnel, read_unsent, sdk_of_method
from tollspan.usage import (
    TOOL_PROVIDER,
    Attribution,
    BudgetUnit,
    Call,
    CallDeniedError,
    ConfigError,
    DecisionAction,
    LedgerError,
    Request,
    merge_attributions,
    new_call_id,
    read_attribution,
)

from ._install import installed_or_raise
from ._wiring import SDKS, Installed

_DOOR = "gate"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What the gate would say of a call now. Nothing is held.

    Attributes:
        action: `allow`; `warn` or `shadow`: let through, and a rule of this kind has no room for
            it; `deny`.
        denial: The exception that the call would raise; None when it would go out.
        rule_ids: The rules without room for it, else all that count it.
        bound_nanousd: The most that it can cost; None when nothing bounds it, or no budget asks.
        bound_reasons: Why that is not simply its bytes and its own limit.
    """

    action: DecisionAction
    denial: CallDeniedError | None
    rule_ids: tuple[str, ...]
    bound_nanousd: int | None
    bound_reasons: tuple[str, ...]

    @property
    def is_allowed(self) -> bool:
        """Whether the call would go out."""
        return self.denial is None


def check(*, method: str | None = None, base_url: str | None = None, **arguments: Any) -> Check:
    """Say whether a call would be let through now.

    Args:
        method: The SDK's method, `responses.create` say; None where the arguments tell which.
        base_url: Where the client sends, `str(client.base_url)`; None for the provider's own host.
        **arguments: As they are given to the SDK: `model`, `messages`, `max_tokens`,
            `extra_body`, … Whom the call is for is what the blocks around say.

    Raises:
        NotInstalledError: No call of this process is gated.
        ConfigError: The arguments don't tell which call is meant.
    """
    installed = installed_or_raise("gate.check()")
    decision = installed.gate.check(_unsent(installed, arguments, method, base_url))
    note = decision.note
    denial = decision.denial
    short = () if denial is None or denial.rule_id is None else (denial.rule_id,)
    return Check(
        action=note.action,
        denial=denial,
        rule_ids=note.rule_ids or short,
        bound_nanousd=note.bound_nanousd,
        bound_reasons=note.bound_reasons,
    )


def remaining(  # noqa: PLR0913 - the dimensions, all by keyword
    *,
    model: str | None = None,
    tool: str | None = None,
    provider: str | None = None,
    operation: str = "chat",
    unit: BudgetUnit | None = None,
    customer: str | None = None,
    session: str | None = None,
    user: str | None = None,
    agent: str | None = None,
    feature: str | None = None,
    step: str | None = None,
    team: str | None = None,
    project: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Headroom | None:
    """Return the budget that ends first for such calls, and what is left in it.

    Of the budgets that refuse and count the same unit, it is the one with the least left; of these,
    the one with the smallest share of its limit left. `rule_id` and `scope` name it.

    Args:
        model: Which calls: those of a model. Budgets for certain models count none of which it is
            not said.
        tool: Those of a tool.
        provider: Whose model it is; None for the one whose SDK knows it.
        operation: As in `gen_ai.operation.name`.
        unit: Only budgets that count this: `usd`, `tokens` or `calls`.
        customer: Whom they are for; what is not said is what the blocks around say, here and in
            the other dimensions.
        session: The same.
        user: The same.
        agent: The same.
        feature: The same.
        step: The same.
        team: The same.
        project: The same.
        tags: The same, by name.

    Returns:
        None where no budget limits them.

    Raises:
        NotInstalledError: No call of this process is gated.
        AttributionError: A value is wrong.
        TollspanError: The rules or the ledger can't be read, or a shared authority can't be
            reached or is not open: nobody knows.
    """
    installed = installed_or_raise("remaining()")
    call = _meant(
        installed,
        model=model,
        tool=tool,
        provider=provider,
        operation=operation,
        customer=customer,
        session=session,
        user=user,
        agent=agent,
        feature=feature,
        step=step,
        team=team,
        project=project,
        tags=tags,
    )
    found = [_headroom(installed, one, call) for one in fullest(_hard(installed, call))]
    return tightest([one for one in found if unit is None or one.unit == unit])


def is_within_limit(**which: Any) -> bool:
    """Say whether every budget that refuses such calls has something left.

    A call may be too dear for it all the same: `gate.check` knows. Where the authority can't be
    asked, it says whether calls go on: from what is leased here, or by `on_unavailable`. The
    arguments are those of `remaining`, and so are all other errors.
    """
    try:
        found = remaining(**which)
    except LedgerError:
        installed = installed_or_raise("is_within_limit()")
        return installed.gate.goes_on(_meant(installed, **which))
    return found is None or found.remaining > 0


def max_tokens(
    model: str, *, method: str | None = None, base_url: str | None = None, **arguments: Any
) -> int | None:
    """Return the largest maximum of output tokens with which a call would be let through now.

    What is held for other calls counts. A maximum that `arguments` say is left out.

    Args:
        model: The model.
        method: As in `check`.
        base_url: As in `check`.
        **arguments: As in `check`: `messages` above all.

    Returns:
        The model's own most where the budgets afford it; 0 where they afford no output, or refuse
        the call; None where no budget limits it.

    Raises:
        NotInstalledError: No call of this process is gated.
        TollspanError: The arguments don't tell which call is meant, or the rules or the ledger
            can't be read.
    """
    installed = installed_or_raise("max_tokens()")
    call = _unsent(installed, {**arguments, "model": model}, method, base_url)
    stood = {balance.account: balance for balance in _balances(installed, call)}
    if all(account.is_soft for account in stood):
        return None

    def ask(tokens: int) -> Sequence[Leg] | None:
        request = msgspec.structs.replace(call.request, max_output_tokens=tokens)
        looking = Looking(
            lambda accounts: tuple(stood.get(one, Balance(account=one)) for one in accounts)
        )
        installed.gate.check(msgspec.structs.replace(call, request=request), looking)
        asked = looking.hold_asked
        return None if asked is None else [leg for leg in asked.legs if not leg[0].is_soft]

    listed = installed.prices.prices(call.request.provider, call.request.model)
    return most_output(stood, ask, None if listed is None else listed.max_output_tokens)


class GateInCode:
    """The gate, for programs that ask before they call. Made once: `tollspan.api.gate`."""

    check = staticmethod(check)
    is_within_limit = staticmethod(is_within_limit)
    max_tokens = staticmethod(max_tokens)
    remaining = staticmethod(remaining)


gate = GateInCode()


def _unsent(
    installed: Installed, arguments: dict[str, Any], method: str | None, base_url: str | None
) -> Call:
    """Make the call that arguments would make."""
    funnel = _funnel(installed, arguments.get("model"), method)
    unsent = read_unsent(funnel.sdk, funnel.hosts, arguments, method=method, base_url=base_url)
    return _call(unsent.request, unsent.said or Attribution())


def _call(request: Request, said: Attribution) -> Call:
    now = time.time_ns()
    return Call(
        id=new_call_id(now),
        started_at_unix_ns=now,
        request=request,
        attribution=merge_attributions(attribution.capture(), said),
        door=_DOOR,
    )


def _meant(
    installed: Installed,
    *,
    model: str | None = None,
    tool: str | None = None,
    provider: str | None = None,
    operation: str = "chat",
    unit: BudgetUnit | None = None,  # noqa: ARG001 - which budgets, not which calls
    **whose: object,
) -> Call:
    """Make the call that the arguments of `remaining` mean."""
    request = _request(installed, model, tool, provider, operation)
    return _call(request, read_attribution(whose))


def _request(
    installed: Installed,
    model: str | None,
    tool: str | None,
    provider: str | None,
    operation: str,
) -> Request:
    """Describe calls of which no more is known than what they are."""
    if tool is not None:
        if model is not None:
            raise ConfigError("remaining(): a call is of a tool or of a model, never of both")
        return Request(provider=TOOL_PROVIDER, operation="execute_tool", model=tool)
    if provider is None:
        provider = "" if model is None else _funnel(installed, model, None).sdk.provider
    return Request(provider=provider, operation=operation, model=model or "")


def _funnel(installed: Installed, model: object, method: str | None) -> Funnel:
    """Return the hooks of the SDK that a call is made with: the one of its method, or its model."""
    funnels = {funnel.sdk.package: funnel for funnel in installed.funnels}
    if method is not None:
        named = sdk_of_method(SDKS, method)
        return funnels[named.package if named is not None else SDKS[0].package]
    for funnel in funnels.values():
        if (
            isinstance(model, str)
            and installed.prices.prices(funnel.sdk.provider, model) is not None
        ):
            return funnel
    return funnels[SDKS[0].package]


def _balances(installed: Installed, call: Call) -> tuple[Balance, ...]:
    return installed.gate.balances(installed.gate.accounts(call))


def _hard(installed: Installed, call: Call) -> list[Balance]:
    """Return the accounts that refuse what does not fit."""
    return [one for one in _balances(installed, call) if not one.account.is_soft]


def _headroom(installed: Installed, balance: Balance, call: Call) -> Headroom:
    budget = installed.gate.budget(balance.account.budget_id)
    return headroom_of(balance, budget, call.started_at_unix_ns)
