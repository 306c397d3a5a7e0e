"""Says what policies mean, a sentence for each."""

from __future__ import annotations

from tollspan.budget import Policy

from ._sentences import dimension, values

_VIOLATED = {
    "deny": "another call is refused",
    "warn": "another call goes through, and somebody is warned",
    "shadow": "another call goes through, and is only noted",
}


def policy_sentence(policy: Policy) -> str:
    """Say what a policy lets through, for whom, and what becomes of another call."""
    said = [
        *(f"{dimension(one.key)} is {values(one)}" for one in policy.allow),
        *(f"{dimension(one.key)} is not {values(one)}" for one in policy.deny),
        *(f"{dimension(key)} is known" for key in policy.require),
    ]
    if policy.kill:
        said = ["no call"]
    elif not said:
        return f"{policy.id}: is switched off."
    else:
        said = [f"only calls whose {' and whose '.join(said)}"]
    parts = [*said, _whose(policy), _VIOLATED[policy.on_violation]]
    return f"{policy.id}: {'; '.join(parts)}."


def _whose(policy: Policy) -> str:
    if not policy.where:
        return "of all calls"
    conditions = [f"{dimension(one.key)} is {values(one)}" for one in policy.where]
    return f"of those whose {' and whose '.join(conditions)}"
