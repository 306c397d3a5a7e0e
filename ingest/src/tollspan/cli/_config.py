"""`tollspan config check` and `schema`: what rules mean, what is wrong with them, what is odd."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tollspan.budget import RuleSet, find_problems, parse_rules
from tollspan.launch import Settings, load_prices, read_settings
from tollspan.pricing import PriceBook
from tollspan.usage import ConfigError, TollspanError, read_document

from ._checks import Status, many
from ._oddities import oddities
from ._policy_sentences import policy_sentence
from ._rules_source import NO_RULES, source_words
from ._schemas import config_schema, event_schema
from ._sentences import defaults_sentences, sentence
from ._terminal import Cell, Style, print_json, print_line

_LINE = re.compile(r":([0-9]+): ")
_WORDS: dict[Status, tuple[str, Style]] = {
    "ok": ("ok     ", "good"),
    "warning": ("odd    ", "warning"),
    "problem": ("wrong  ", "bad"),
}


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found.

    Attributes:
        status: `problem`: it can't be used so. `warning`: it can, and hardly is what was meant.
        text: What was found, and what was expected.
        file: Where; null for a setting.
        line: Its line, counted from 1; null where there is none.
        budget: The budget that is odd; null for all else.
    """

    status: Status
    text: str
    file: str | None = None
    line: int | None = None
    budget: str | None = None


def check(parsed: argparse.Namespace) -> int:
    """Look over one document, or all that is in force here; exit code 1 when something is wrong."""
    found: list[Finding] = []
    if parsed.file is not None:
        checked = check_document(Path(parsed.file), found)
        rules = None if checked is None else checked[0]
    else:
        wrong: list[ConfigError] = []
        settings = read_settings(on_wrong=wrong.append)
        found += [Finding(status="problem", text=str(error)) for error in wrong]
        rules, _ = _rules(settings.document, found, source_words(settings))
        _add_oddities(rules, _prices(settings, found), found)
    if parsed.json:
        print_json(_as_json(found, rules))
    else:
        print_findings(found, rules)
    return int(any(one.status == "problem" for one in found))


def check_document(path: Path, found: list[Finding]) -> tuple[RuleSet, str] | None:
    """Look over one document, which may be for elsewhere.

    Args:
        path: Its file.
        found: Is added what is found.

    Returns:
        What it says, and its text; None when something is wrong with it.
    """
    rules, text = _rules(path, found)
    if rules is None:
        return None
    settings = read_settings(on_wrong=_nothing)
    _add_oddities(rules, _prices(settings, []), found)
    return rules, text


def schema(parsed: argparse.Namespace) -> int:
    """Print a JSON Schema."""
    print_json(event_schema() if parsed.event else config_schema())
    return 0


def _nothing(error: ConfigError) -> None:
    """Leave settings alone that are not asked for."""


def _rules(
    path: Path | None, found: list[Finding], why: str | None = None
) -> tuple[RuleSet | None, str]:
    """Read a document, with its text; None, and why, when it can't be used.

    Args:
        path: Its file.
        found: Is added what is found.
        why: Why this document; None where it was asked for.
    """
    if path is None:
        found.append(Finding(status="problem", text=NO_RULES))
        return None, ""
    source = str(path)
    try:
        text = read_document(path)
    except ConfigError as error:
        found.append(_problem(source, error))
        return None, ""
    problems = find_problems(text, source=source)
    if problems:
        found += [
            Finding(status="problem", text=one.text, file=source, line=one.line) for one in problems
        ]
        return None, ""
    rules = parse_rules(text, source=source)
    count = len(rules.budgets)
    more = f", {many(len(rules.policies), 'policy', 'policies')}" if rules.policies else ""
    said = f"{path}: {many(count, 'budget')}{more}{f', {why}' if why else ''}"
    found.append(Finding(status="ok", text=said, file=source))
    return rules, text


def _prices(settings: Settings, found: list[Finding]) -> PriceBook | None:
    own = settings.prices
    source = None if own is None else str(own)
    try:
        book = load_prices(settings)
    except TollspanError as error:
        found.append(_problem(source, error))
        return None
    more = "" if own is None else f", with your own prices of {own}"
    found.append(Finding(status="ok", text=f"price book {book.book_id}{more}", file=source))
    return book


def _problem(source: str | None, error: TollspanError) -> Finding:
    text = str(error)
    is_there = source is not None and text.startswith(source)
    line = _LINE.match(text, len(source)) if source is not None and is_there else None
    return Finding(
        status="problem",
        text=text,
        file=source if is_there else None,
        line=int(line[1]) if line is not None else None,
    )


def _add_oddities(rules: RuleSet | None, book: PriceBook | None, found: list[Finding]) -> None:
    if rules is None:
        return
    found += [
        Finding(
            status="warning",
            text=one.text if one.budget is None else f"{one.budget} {one.text}",
            file=rules.source,
            budget=one.budget,
        )
        for one in oddities(rules, book)
    ]


def print_findings(found: Sequence[Finding], rules: RuleSet | None) -> None:
    """Print what was found, and what rules mean; None to leave that out."""
    for one in found:
        word, style = _WORDS[one.status]
        print_line(Cell(word, style), one.text)
        if rules is not None and one.status == "ok" and one.file == rules.source:
            for text in _sentences(rules):
                print_line("       ", text)


def _sentences(rules: RuleSet) -> list[str]:
    return [
        *(sentence(budget) for budget in rules.budgets),
        *(policy_sentence(policy) for policy in rules.policies),
        *defaults_sentences(rules),
    ]


def _as_json(found: Sequence[Finding], rules: RuleSet | None) -> dict[str, object]:
    statuses = {one.status for one in found}
    return {
        "status": next(one for one in ("problem", "warning", "ok") if one in statuses),
        "findings": [one for one in found if one.status != "ok"],
        "meaning": [] if rules is None else _sentences(rules),
    }
