"""Says what policies mean, a sentence for each."""

from __future__ import annotations

from collections.abc import Iterator

from tollspan.budget import Policy
from tollspan.usage import format_amount

from ._sentences import dimension, values

_VIOLATED = {
    "deny": "another call is refused",
    "warn": "another call goes through, and somebody is warned",
    "shadow": "another call goes through, and is only noted",
}


def policy_sentence(policy: Policy) -> str:
    """Say what a policy lets through, for whom, and what becomes of another call."""
    said = [
        *(f"whose {dimension(one.key)} is {values(one)}" for one in policy.allow),
        *(f"whose {dimension(one.key)} is not {values(one)}" for one in policy.deny),
        *(f"whose {dimension(key)} is known" for key in policy.require),
        *_limits(policy),
    ]
    if policy.kill:
        said = ["no call"]
    elif not said:
        return f"{policy.id}: is switched off."
    else:
        said = [f"only calls {' and '.join(said)}"]
    parts = [*said, _whose(policy), _VIOLATED[policy.on_violation]]
    return f"{policy.id}: {'; '.join(parts)}."


def _limits(policy: Policy) -> Iterator[str]:
    if policy.most_cost_nanousd is not None:
        yield f"that cost at most {format_amount(policy.most_cost_nanousd, 'usd')}"
    if policy.most_in_flight is not None:
        each = f" for each {' and '.join(map(dimension, policy.per))}" if policy.per else ""
        most = format_amount(policy.most_in_flight, "calls")
        yield f"of which at most {most}{each} are in flight in one process"
    if policy.most_depth is not None:
        yield f"whose agents are nested at most {policy.most_depth} deep"
    loop = policy.loop
    if loop is not None:
        most = format_amount(loop.repeats, "calls")
        verb = "is" if loop.repeats == 1 else "are"
        alike = f" that have {' and '.join(map(dimension, loop.of))} in common" if loop.of else ""
        yield f"of which at most {most} {verb} made within {loop.within_seconds} s{alike}"


def _whose(policy: Policy) -> str:
    if not policy.where:
        return "of all calls"
    conditions = [f"{dimension(one.key)} is {values(one)}" for one in policy.where]
    return f"of those whose {' and whose '.join(conditions)}"
