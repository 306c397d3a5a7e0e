"""`tollspan budget simulate`: what rules would have done to the calls that a ledger knows."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tollspan.budget import By, Replay, Scope, Verdicts, read_rules
from tollspan.launch import ledger_home_in_force, load_prices, read_settings
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import ConfigError, DecisionAction, format_usd, rfc3339

from ._events import NOBODY
from ._rules_source import NO_RULES
from ._terminal import Cell, Column, Style, Value, print_json, print_line, print_table

_MOST_LINES = 20
_END_OF_TIME = 1 << 63
_ACTIONS: dict[str, tuple[str, Style]] = {
    "deny": ("refused", "bad"),
    "warn": ("warned", "warning"),
    "shadow": ("noted", "quiet"),
}
_BY: tuple[By, ...] = ("cost", "bounds")


def simulate(parsed: argparse.Namespace) -> int:
    """Replay what happened; the ledger is only read. Exit code 0 whatever would have happened."""
    settings = read_settings()
    document = settings.document if parsed.config is None else Path(parsed.config)
    if document is None:
        raise ConfigError(f"{NO_RULES}; name one by --config")
    rules = read_rules(document)
    reader = LedgerReader(ledger_home_in_force() / LEDGER_FILE)
    charged = reader.charged_before(parsed.since) if parsed.since else ()
    replay = Replay(rules, load_prices(settings), charged)
    for event in reader.events_by_start(since_unix_ns=parsed.since, until_unix_ns=parsed.until):
        replay.see(event)
    replay.settle(_END_OF_TIME)
    if parsed.json:
        print_json(_as_json(replay, document, parsed))
    else:
        _print(replay, document)
    return 0


def _print(replay: Replay, document: Path) -> None:
    notes = [
        f"{count:,} {text}"
        for count, text in (
            (replay.unknown, "of unknown cost count with their bounds"),
            (replay.refused_then, "more were refused then, and are left out"),
        )
        if count
    ]
    more = f"; {'; '.join(notes)}" if notes else ""
    print_line(f"{document} over {replay.calls:,} calls of {_usd(replay.cost_nanousd)} USD{more}")
    for by in _BY:
        outlook = replay.outlooks[by]
        text = f"{outlook.denied:,} calls refused, of {_usd(outlook.denied_nanousd)} USD"
        print_line(f"by {by:<7} ", Cell(text, "bad" if outlook.denied else "good"))
    found = _found(replay)
    if not found:
        return
    print_line()
    _print_table(_by_rule(found))
    refused = [one for one in found if one.action == "deny" and one.scope]
    if refused:
        print_line()
        _print_table(refused[:_MOST_LINES])
    if len(refused) > _MOST_LINES:
        print_line(f"and {len(refused) - _MOST_LINES:,} more: see --json")


class _Found(NamedTuple):
    """What one rule would have done, to one owner or to all; None where it did nothing."""

    rule: str
    scope: Scope
    action: DecisionAction
    by_cost: Verdicts | None
    by_bounds: Verdicts | None

    @property
    def weight(self) -> tuple[bool, int]:
        """What comes first: what is refused, and of that the dearest."""
        dearest = max(one.cost_nanousd for one in (self.by_cost, self.by_bounds) if one is not None)
        return self.action == "deny", dearest


def _found(replay: Replay) -> list[_Found]:
    """Put both results side by side, what is refused first, and of that the dearest."""
    by_cost, by_bounds = (replay.outlooks[by].verdicts for by in _BY)
    keys = dict.fromkeys((*by_bounds, *by_cost))
    found = [_Found(*key, by_cost.get(key), by_bounds.get(key)) for key in keys]
    return sorted(found, key=lambda one: one.weight, reverse=True)


def _by_rule(found: Sequence[_Found]) -> list[_Found]:
    """Sum over owners."""
    groups: dict[tuple[str, DecisionAction], list[_Found]] = {}
    for one in found:
        groups.setdefault((one.rule, one.action), []).append(one)
    return [
        _Found(
            rule,
            (),
            action,
            _sum(one.by_cost for one in group),
            _sum(one.by_bounds for one in group),
        )
        for (rule, action), group in groups.items()
    ]


def _sum(verdicts: Iterable[Verdicts | None]) -> Verdicts | None:
    known = [one for one in verdicts if one is not None]
    if not known:
        return None
    return Verdicts(
        known[0].rule,
        (),
        known[0].action,
        calls=sum(one.calls for one in known),
        cost_nanousd=sum(one.cost_nanousd for one in known),
        first_unix_ns=min(one.first_unix_ns for one in known),
    )


def _print_table(found: Sequence[_Found]) -> None:
    print_table(
        (
            Column("rule"),
            Column("of", if_any=True, is_wide=True),
            Column("would be"),
            Column("by cost", is_number=True),
            Column("USD", is_number=True),
            Column("by bounds", is_number=True),
            Column("USD", is_number=True),
            Column("first (UTC)", may_go=True),
        ),
        [_row(one) for one in found],
    )


def _row(found: _Found) -> tuple[Value, ...]:
    word, style = _ACTIONS.get(found.action, (found.action, "warning"))
    both = (found.by_cost, found.by_bounds)
    first = min(one.first_unix_ns for one in both if one is not None)
    return (
        found.rule,
        ", ".join(f"{name} {value or NOBODY}" for name, value in found.scope),
        Cell(word, style),
        *(text for one in both for text in _amounts(one)),
        rfc3339(first)[:16].replace("T", " "),
    )


def _amounts(verdicts: Verdicts | None) -> Iterator[Value]:
    yield "" if verdicts is None else f"{verdicts.calls:,}"
    yield "" if verdicts is None else _usd(verdicts.cost_nanousd)


def _usd(nanousd: int) -> str:
    return format_usd(nanousd, places=2)


def _as_json(replay: Replay, document: Path, parsed: argparse.Namespace) -> dict[str, object]:
    return {
        "document": str(document),
        "since": rfc3339(parsed.since) if parsed.since else None,
        "until": None if parsed.until is None else rfc3339(parsed.until),
        "calls": replay.calls,
        "cost_nanousd": str(replay.cost_nanousd),
        "unknown": replay.unknown,
        "refused_then": replay.refused_then,
        **{f"by_{by}": _outlook_json(replay, by) for by in _BY},
    }


def _outlook_json(replay: Replay, by: By) -> dict[str, object]:
    outlook = replay.outlooks[by]
    return {
        "refused": outlook.denied,
        "refused_nanousd": str(outlook.denied_nanousd),
        "rules": [
            {
                "rule": one.rule,
                "scope": dict(one.scope),
                "action": one.action,
                "calls": one.calls,
                "cost_nanousd": str(one.cost_nanousd),
                "first": rfc3339(one.first_unix_ns),
            }
            for one in outlook.verdicts.values()
        ],
    }
