"""`tollspan config`: says what the rules mean, or what is wrong with them; and their schema."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from tollspan.budget import RuleSet, read_rules
from tollspan.launch import load_prices, read_settings
from tollspan.usage import ConfigError, TollspanError

from ._schemas import config_schema, event_schema
from ._sentences import defaults_sentences, sentence
from ._terminal import Cell, print_json, print_line


def check(parsed: argparse.Namespace) -> int:
    """Look over one document, or all that is in force here; exit code 1 when something is wrong."""
    if parsed.file is not None:
        return _try(lambda: _rules(Path(parsed.file)))
    wrong: list[ConfigError] = []
    settings = read_settings(on_wrong=wrong.append)
    for error in wrong:
        _say_wrong(error)
    code = int(bool(wrong))
    if settings.document is None:
        _say_wrong("no rules: there is no tollspan.yaml here or in TOLLSPAN_HOME")
        code = 1
    else:
        document = settings.document
        code |= _try(lambda: _rules(document))
    code |= _try(lambda: _prices(str(settings.prices), load_prices(settings).book_id))
    return code


def schema(parsed: argparse.Namespace) -> int:
    """Print a JSON Schema."""
    print_json(event_schema() if parsed.event else config_schema())
    return 0


def _try(action: Callable[[], None]) -> int:
    try:
        action()
    except TollspanError as error:
        _say_wrong(error)
        return 1
    return 0


def _say_wrong(error: object) -> None:
    print_line(Cell("wrong  ", "bad"), str(error))


def _rules(path: Path) -> None:
    rules = read_rules(path)
    count = len(rules.budgets)
    print_line(Cell("ok     ", "good"), f"{path}: {count} budget{'' if count == 1 else 's'}")
    for text in _sentences(rules):
        print_line("       ", text)


def _sentences(rules: RuleSet) -> list[str]:
    return [*(sentence(budget) for budget in rules.budgets), *defaults_sentences(rules)]


def _prices(path: str, book_id: str) -> None:
    own = "" if path == "None" else f", with your own prices of {path}"
    print_line(Cell("ok     ", "good"), f"price book {book_id}{own}")
