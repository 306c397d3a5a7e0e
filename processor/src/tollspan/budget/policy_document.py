"""Reads the `policies` of the rules' document."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import get_args

import yaml

from tollspan.usage import DocumentReader

from .document_conditions import read_condition
from .document_limits import read_amount
from .durations import read_duration
from .plans import is_key
from .policies import TURN, Loop, OnViolation, Policy
from .rules import OWNERS, SUBJECTS, Condition

POLICY_RULES = (
    "allow",
    "deny",
    "kill",
    "require",
    "most_cost",
    "most_in_flight",
    "most_depth",
    "loop",
)
"""What a policy may say of calls: one of these at least."""
POLICY_KEYS = ("id", "where", *POLICY_RULES, "per", "on_violation", "message", "upgrade_url")
LOOP_KEYS = ("repeats", "within", "of")
MOST_REPEATS = 10_000
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_COUNT = re.compile(r"(0|[1-9][0-9]{0,5})(\.0+)?")
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def read_policies(
    reader: DocumentReader, node: yaml.Node | None, taken: Collection[str]
) -> tuple[Policy, ...]:
    """Read every policy.

    Args:
        reader: Reads the document.
        node: The list; None for none.
        taken: Ids that budgets have.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return ()
    if not isinstance(node, yaml.SequenceNode):
        reader.fail(node, "`policies` is no list; write one `- id: …` for each policy")
    policies: list[Policy] = []
    seen = set(taken)
    for item in node.value:
        policy = _policy(reader, item)
        if policy.id in seen:
            reader.fail(item, f"two rules have the id {policy.id!r}; ids are unique")
        seen.add(policy.id)
        policies.append(policy)
    return tuple(policies)


def _policy(reader: DocumentReader, node: yaml.Node) -> Policy:
    keys = reader.mapping(node, "a policy")
    reader.only(keys, POLICY_KEYS, "a policy")
    if "id" not in keys:
        reader.fail(node, "a policy has no `id`")
    if not any(key in keys for key in POLICY_RULES):
        reader.fail(node, f"a policy says nothing of calls; expected {', '.join(POLICY_RULES)}")
    if "per" in keys and "most_in_flight" not in keys:
        reader.fail(keys["per"], "`per` divides calls in flight; expected `most_in_flight` too")
    return Policy(
        id=_id(reader, keys["id"]),
        where=_conditions(reader, keys.get("where"), "where"),
        allow=_conditions(reader, keys.get("allow"), "allow"),
        deny=_conditions(reader, keys.get("deny"), "deny"),
        kill=_boolean(reader, keys.get("kill"), "kill"),
        require=read_dimensions(reader, keys.get("require"), "require"),
        most_cost_nanousd=_most_cost(reader, keys.get("most_cost")),
        most_in_flight=_count(reader, keys.get("most_in_flight"), "most_in_flight"),
        per=read_dimensions(reader, keys.get("per"), "per", SUBJECTS),
        most_depth=_count(reader, keys.get("most_depth"), "most_depth"),
        loop=_loop(reader, keys.get("loop")),
        on_violation=_on_violation(reader, keys.get("on_violation")),
        message=_text(reader, keys.get("message"), "message"),
        upgrade_url=_text(reader, keys.get("upgrade_url"), "upgrade_url"),
    )


def read_dimensions(
    reader: DocumentReader,
    node: yaml.Node | None,
    name: str,
    more: tuple[str, ...] = (),
) -> tuple[str, ...]:
    """Read whom a call may be for, and `more` that may be named; each once, one at least.

    Raises:
        ConfigError: Something else is named, or nothing.
    """
    if node is None:
        return ()
    found: list[str] = []
    for item in reader.items(node):
        key = reader.text(item, name)
        if key not in more and not is_key(key, subjects=False):
            known = ", ".join((*more, *OWNERS))
            reader.fail(item, f"`{name}` names {key!r}; expected {known} or tag.<name>")
        if key in found:
            reader.fail(item, f"`{name}` names {key!r} twice")
        found.append(key)
    if not found:
        reader.fail(node, f"`{name}` is empty; expected a dimension, or a list of them")
    return tuple(found)


def _conditions(reader: DocumentReader, node: yaml.Node | None, name: str) -> tuple[Condition, ...]:
    if node is None:
        return ()
    found: list[Condition] = []
    for key, value in reader.mapping(node, name).items():
        if not is_key(key, subjects=True):
            known = ", ".join((*SUBJECTS, *OWNERS))
            reader.fail(value, f"`{name}` names {key!r}; expected {known} or tag.<name>")
        found.append(read_condition(reader, key, value, name))
    if not found and name != "where":
        reader.fail(node, f"`{name}` is empty; expected a list of values for a key, `model` say")
    return tuple(found)


def _id(reader: DocumentReader, node: yaml.Node) -> str:
    name = reader.text(node, "id")
    if not _ID.fullmatch(name):
        reader.fail(
            node,
            f"`id` is {name!r}; expected 1 to 128 letters, digits, `.`, `_`, `-`, "
            "the first a letter or digit",
        )
    return name


def _boolean(reader: DocumentReader, node: yaml.Node | None, name: str) -> bool:
    if node is None:
        return False
    text = reader.text(node, name)
    if node.tag != "tag:yaml.org,2002:bool":
        reader.fail(node, f"`{name}` is {text!r}; expected true or false")
    return _BOOLEANS[text.lower()]


def _most_cost(reader: DocumentReader, node: yaml.Node | None) -> int | None:
    if node is None:
        return None
    amount, unit = read_amount(reader, node, "most_cost")
    if unit != "usd":
        reader.fail(node, f"`most_cost` is in {unit}; expected USD, as in `0.50 USD`")
    return amount


def _count(reader: DocumentReader, node: yaml.Node | None, name: str) -> int | None:
    if node is None:
        return None
    text = reader.text(node, name)
    match = _COUNT.fullmatch(text)
    if match is None or node.tag not in _NUMBERS:
        reader.fail(node, f"`{name}` is {text!r}; expected a whole number from 0 to 999999")
    return int(match[1])


def _loop(reader: DocumentReader, node: yaml.Node | None) -> Loop | None:
    if node is None:
        return None
    keys = reader.mapping(node, "loop")
    reader.only(keys, LOOP_KEYS, "loop")
    for needed in LOOP_KEYS:
        if needed not in keys:
            reader.fail(node, f"`loop` has no `{needed}`")
    repeats = _count(reader, keys["repeats"], "loop.repeats")
    if repeats is None or not 1 <= repeats <= MOST_REPEATS:
        reader.fail(keys["repeats"], f"`loop.repeats` is {repeats}; expected 1 to {MOST_REPEATS}")
    of = keys["of"]
    is_all = isinstance(of, yaml.SequenceNode) and not of.value
    return Loop(
        repeats=repeats,
        within_seconds=read_duration(reader, keys["within"], "loop.within") or 0,
        of=() if is_all else read_dimensions(reader, of, "loop.of", (TURN, *SUBJECTS)),
    )


def _on_violation(reader: DocumentReader, node: yaml.Node | None) -> OnViolation:
    if node is None:
        return "deny"
    text = reader.text(node, "on_violation")
    for choice in get_args(OnViolation):
        if choice == text:
            found: OnViolation = choice
            return found
    return reader.fail(
        node, f"`on_violation` is {text!r}; expected one of {', '.join(get_args(OnViolation))}"
    )


def _text(reader: DocumentReader, node: yaml.Node | None, name: str) -> str | None:
    return None if node is None or reader.is_null(node) else reader.text(node, name)
