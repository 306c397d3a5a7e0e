"""Finds out of what kind of call a policy speaks, and whether such calls violate it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import itemgetter

import msgspec

from tollspan.usage import Call, value_of

from .in_flight import Place
from .plans import names_somebody, said_of, test_of
from .policies import TURN, Policy
from .rules import SUBJECTS, Condition
from .violations import Scope, Violation

_Test = Callable[[Call], bool]
_LONGEST_SHOWN = 80


class Watched(msgspec.Struct, frozen=True):
    """A policy for which each call of a kind has to be looked at.

    Attributes:
        policy: The policy.
        scope: Whose calls in flight it counts together.
        alike: What calls have in common that it counts as alike, but for their last turn.
    """

    policy: Policy
    scope: Scope
    alike: Scope = ()

    @property
    def is_counted(self) -> bool:
        """Whether it counts calls in flight."""
        return self.policy.most_in_flight is not None

    @property
    def place(self) -> Place:
        """Where it counts them."""
        return self.policy.id, self.scope


class PolicyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What policies say of calls of one kind.

    Attributes:
        violations: What such calls violate, whatever else they are; in the document's order.
        watched: What has to be looked at in each of them.
        needs_prices: Something is refused by what it may cost.
    """

    violations: tuple[Violation, ...]
    watched: tuple[Watched, ...] = ()
    needs_prices: bool = False


class _Entry(msgspec.Struct, frozen=True):
    """A policy with its conditions, ready to be asked."""

    number: int
    policy: Policy
    where: tuple[_Test, ...]
    allow: tuple[tuple[Condition, _Test], ...]
    deny: tuple[tuple[Condition, _Test], ...]


class PolicyIndex:
    """Finds the policies of a call without looking at those of other customers. Safe for threads.

    Attributes:
        keys: What has to be known of a call: calls that agree in it have the same plan.
    """

    def __init__(self, policies: tuple[Policy, ...]) -> None:
        self.keys: frozenset[str] = frozenset[str]().union(*(one.keys() for one in policies))
        self._for_any: list[_Entry] = []
        self._for_one: dict[str, dict[str | None, list[_Entry]]] = {}
        for number, policy in enumerate(policies):
            entry = _entry(number, policy)
            named = next(filter(names_somebody, policy.where), None)
            if named is None:
                self._for_any.append(entry)
                continue
            values = self._for_one.setdefault(named.key, {})
            for value in set(named.patterns):
                values.setdefault(value, []).append(entry)

    def plan(self, call: Call) -> PolicyPlan | None:
        """Return what policies say of calls of this kind; None when they let it be."""
        violations: list[Violation] = []
        watched: list[Watched] = []
        for entry in self._near(call):
            if all(test(call) for test in entry.where):
                policy = entry.policy
                text = _what_is_wrong(entry, call)
                if text is not None:
                    violations.append(Violation(policy=policy, text=text))
                if policy.is_watching:
                    alike = policy.loop.of if policy.loop is not None else ()
                    watched.append(Watched(policy, _scope(call, policy.per), _scope(call, alike)))
        if not violations and not watched:
            return None
        return PolicyPlan(
            violations=tuple(violations),
            watched=tuple(watched),
            needs_prices=any(
                one.policy.most_cost_nanousd is not None and one.policy.on_violation == "deny"
                for one in watched
            ),
        )

    def _near(self, call: Call) -> Iterable[_Entry]:
        """Return the policies that may be for a call, in the document's order."""
        near = [
            (entry.number, entry)
            for key, values in self._for_one.items()
            for entry in values.get(value_of(call.attribution, key), ())
        ]
        if not near:
            return self._for_any
        near += [(entry.number, entry) for entry in self._for_any]
        return [entry for _, entry in sorted(near, key=itemgetter(0))]


def _scope(call: Call, keys: tuple[str, ...]) -> Scope:
    return tuple([(key, said_of(call, key)) for key in keys if key != TURN])


def _entry(number: int, policy: Policy) -> _Entry:
    return _Entry(
        number,
        policy,
        tuple(map(test_of, policy.where)),
        tuple([(condition, test_of(condition)) for condition in policy.allow]),
        tuple([(condition, test_of(condition)) for condition in policy.deny]),
    )


def _what_is_wrong(entry: _Entry, call: Call) -> str | None:
    """Say how a call violates a policy that is for it; None when it does not."""
    policy = entry.policy
    if policy.kill:
        return "it lets no call through"
    for condition, is_met in entry.allow:
        said = said_of(call, condition.key)
        # A tool has no model: what a call can't say is neither allowed nor denied.
        if not is_met(call) and (said is not None or condition.key not in SUBJECTS):
            return (
                f"it allows {condition.key} {_listed(condition)}, and the call has {_shown(said)}"
            )
    for condition, is_met in entry.deny:
        if is_met(call):
            return f"it denies {condition.key} {_shown(said_of(call, condition.key))}"
    missing = [key for key in policy.require if value_of(call.attribution, key) is None]
    if missing:
        return f"it requires {' and '.join(missing)}, of which the call says nothing"
    return None


def _listed(condition: Condition) -> str:
    wanted = [" or ".join(condition.patterns)] if condition.patterns else []
    unwanted = [f"not {' nor '.join(condition.excluded)}"] if condition.excluded else []
    return ", but ".join(wanted + unwanted)


def _shown(value: str | None) -> str:
    if value is None:
        return "none"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
