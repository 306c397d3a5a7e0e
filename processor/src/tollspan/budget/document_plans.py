"""Reads `plans`, the budgets that customers have together, and `assign`, who has which."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

import msgspec
import yaml

from tollspan.usage import DocumentReader

from .assigning import EVERYBODY_ELSE
from .document_windows import read_day
from .rules import Assignment, Budget

PLAN_KEYS = ("budgets",)
ASSIGN_KEYS = ("plan", "anchor")
PLAN_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_CUSTOMER = "customer"
_GLOB = re.compile(r"[*?[]")


def read_plans(
    reader: DocumentReader,
    node: yaml.Node | None,
    read_budgets: Callable[[yaml.Node], tuple[Budget, ...]],
) -> dict[str, tuple[Budget, ...]]:
    """Read plans by name, each with its budgets, which are divided by customer.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return {}
    found: dict[str, tuple[Budget, ...]] = {}
    for name, plan in reader.mapping(node, "plans").items():
        place = f"plans.{name}"
        if not re.fullmatch(PLAN_NAME, name):
            reader.fail(plan, f"a plan is called {name!r}; expected letters, digits, `.`, `_`, `-`")
        keys = reader.mapping(plan, place)
        reader.only(keys, PLAN_KEYS, place)
        if "budgets" not in keys:
            reader.fail(plan, f"`{place}` has no `budgets`; write `budgets: []` for none")
        found[name] = tuple(_of_plan(one, name) for one in read_budgets(keys["budgets"]))
    return found


def read_assign(
    reader: DocumentReader, node: yaml.Node | None, plans: Collection[str]
) -> tuple[tuple[str, Assignment], ...]:
    """Read which customer has which plan, and from which day it is billed.

    Args:
        reader: Reads the document.
        node: A mapping of customers, and `*` for everybody else, to a plan's name or a mapping of
            `plan` and `anchor`; None without any.
        plans: The names of all plans.

    Raises:
        ConfigError: Something in it is wrong.
    """
    if node is None:
        return ()
    found: list[tuple[str, Assignment]] = []
    for customer, value in reader.mapping(node, "assign").items():
        if not customer or (customer != EVERYBODY_ELSE and _GLOB.search(customer)):
            reader.fail(
                value, f"`assign` names {customer!r}; expected a customer, or `*` for all others"
            )
        found.append((customer, _assignment(reader, value, f"assign.{customer}", plans)))
    return tuple(found)


def _of_plan(budget: Budget, plan: str) -> Budget:
    per = budget.per if _CUSTOMER in budget.per else (_CUSTOMER, *budget.per)
    return msgspec.structs.replace(budget, plan=plan, per=per)


def _assignment(
    reader: DocumentReader, node: yaml.Node, place: str, plans: Collection[str]
) -> Assignment:
    anchor = None
    if isinstance(node, yaml.MappingNode):
        keys = reader.mapping(node, place)
        reader.only(keys, ASSIGN_KEYS, place)
        if "plan" not in keys:
            reader.fail(node, f"`{place}` has no `plan`")
        if "anchor" in keys:
            anchor = read_day(reader, keys["anchor"], f"{place}.anchor")
        node = keys["plan"]
    plan = reader.text(node, place)
    if plan not in plans:
        known = ", ".join(plans) or "none: write them under `plans`"
        reader.fail(node, f"`{place}` has the plan {plan!r}; known: {known}")
    return Assignment(plan, anchor)
