"""Finds budgets whose conditions no call can meet: mostly a name that is written wrong."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable

from tollspan.budget import Budget, RuleSet
from tollspan.pricing import PriceBook
from tollspan.usage import TOOL_PROVIDER

_WILD = re.compile(r"[*?[]")


def why_unreachable(rules: RuleSet, book: PriceBook) -> dict[str, str]:
    """Return why budgets count no call, by the id of each such budget.

    What can't be known (whom calls are for, models of the operator's own) counts as possible.

    Raises:
        PriceBookError: The book can't be read.
    """
    providers = {*book.providers, *(provider for _, provider in rules.hosts), TOOL_PROVIDER}
    found: dict[str, str] = {}
    for budget in rules.budgets:
        why = _why(budget, book, providers)
        if why is not None:
            found[budget.id] = why
    return found


def _why(budget: Budget, book: PriceBook, providers: Collection[str]) -> str | None:
    where = {condition.key: condition.patterns for condition in budget.where}
    named = where.get("provider", ())
    models = where.get("model", ())
    if "tool" in where and models:
        return "a call is of a tool or of a model, never of both"
    if named and not _any_match(named, providers):
        return f"there is no provider {' or '.join(named)}"
    if "tool" in where and named and not _any_match(named, (TOOL_PROVIDER,)):
        return f"calls of tools have the provider {TOOL_PROVIDER}"
    if models and not any(_is_model(pattern, book) for pattern in models):
        return f"the price book knows no model like {' or '.join(models)}"
    return None


def _any_match(patterns: Iterable[str], names: Collection[str]) -> bool:
    return any(
        fnmatch.fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns for name in names
    )


def _is_model(pattern: str, book: PriceBook) -> bool:
    """Say whether the book has a model of that name; of a glob, one that its beginning may mean."""
    wild = _WILD.search(pattern)
    if wild is None:
        return any(book.prices(provider, pattern) is not None for provider in book.providers)
    start = pattern[: wild.start()].lower()
    names = book.model_names()
    return (
        not start
        or _any_match((pattern,), names)
        or any(name.startswith(start) or start.startswith(name) for name in names)
    )
