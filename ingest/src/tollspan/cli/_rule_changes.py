"""What differs between two documents of rules, in the words that `config check` has for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, TypeVar

import msgspec

from tollspan.budget import Allowance, Budget, Policy, RuleSet, allowance_words
from tollspan.exporter import shown

from ._policy_sentences import policy_sentence
from ._sentences import sentence

What = Literal["added", "removed", "changed"]
Kind = Literal["budget", "policy", "default", "assignment", "host", "authority"]
_DEFAULTS: Final = ("on_unavailable", "on_unbounded", "on_unbounded_input", "on_unpriced")
_Rule = TypeVar("_Rule", Budget, Policy)


class RuleChange(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that differs.

    Attributes:
        what: What becomes of it.
        kind: What it is.
        id: Its id: of a budget or policy; the default's, customer's or host's name.
        keys: Of a budget or policy that is changed, the keys that say something else.
        before, after: What it says, for people; null where there is none.
    """

    what: What
    kind: Kind
    id: str
    keys: tuple[str, ...] = ()
    before: str | None = None
    after: str | None = None


def rule_changes(before: RuleSet, after: RuleSet) -> tuple[RuleChange, ...]:
    """Return what differs, budgets first, in the order of the new document."""
    return (
        *_of_rules("budget", before.budgets, after.budgets, sentence),
        *_of_rules("policy", before.policies, after.policies, policy_sentence),
        *_of_pairs("default", _defaults(before), _defaults(after)),
        *_of_pairs("assignment", _assignments(before), _assignments(after)),
        *_of_pairs("host", dict(before.hosts), dict(after.hosts)),
        *_of_pairs("authority", _authority(before), _authority(after), shown),
    )


def _of_rules(
    kind: Kind, before: Sequence[_Rule], after: Sequence[_Rule], say: Callable[[_Rule], str]
) -> Iterator[RuleChange]:
    was = {one.id: one for one in before}
    now = {one.id: one for one in after}
    for name, rule in now.items():
        old = was.get(name)
        if old is None:
            yield RuleChange(what="added", kind=kind, id=name, after=say(rule))
        elif old != rule:
            yield RuleChange(
                what="changed", kind=kind, id=name, keys=_keys(old, rule),
                before=say(old), after=say(rule),
            )  # fmt: skip
    for name, rule in was.items():
        if name not in now:
            yield RuleChange(what="removed", kind=kind, id=name, before=say(rule))


def _keys(old: Budget | Policy, new: Budget | Policy) -> tuple[str, ...]:
    names: tuple[str, ...] = old.__struct_fields__
    return tuple(name for name in names if getattr(old, name) != getattr(new, name))


def _of_pairs(
    kind: Kind,
    before: dict[str, str],
    after: dict[str, str],
    say: Callable[[str], str] = lambda text: text,
) -> Iterator[RuleChange]:
    for name in dict.fromkeys((*after, *before)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        what: What = "added" if old is None else "removed" if new is None else "changed"
        yield RuleChange(
            what=what, kind=kind, id=name, before=None if old is None else say(old),
            after=None if new is None else say(new),
        )  # fmt: skip


def _defaults(rules: RuleSet) -> dict[str, str]:
    said = {name: getattr(rules, name) for name in _DEFAULTS}
    return {
        name: f"allow up to {allowance_words(value)}"
        if isinstance(value, Allowance)
        else str(value)
        for name, value in said.items()
        if value is not None
    }


def _assignments(rules: RuleSet) -> dict[str, str]:
    return {
        customer: one.plan if one.anchor is None else f"{one.plan} from {one.anchor}"
        for customer, one in rules.assign
    }


def _authority(rules: RuleSet) -> dict[str, str]:
    return {} if rules.authority is None else {"authority": rules.authority}
