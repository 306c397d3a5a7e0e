"""`tollspan rules`: a tenant's rules on an ingest server, over HTTP."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tollspan.budget import RuleSet, parse_rules
from tollspan.exporter import RulesAtServer, RulesVersionAtServer, ServerRefusedError, ServerRules
from tollspan.launch import read_settings
from tollspan.usage import ConfigError

from ._config import Finding, check_document, print_findings
from ._rule_changes import RuleChange, rule_changes
from ._server import server_of
from ._terminal import Cell, Column, Style, print_json, print_line, print_table

_OTHERS_IN_FORCE: Final = 412
_HOME: Final = "TOLLSPAN_HOME"
_WORDS: Final[dict[str, tuple[str, Style]]] = {
    "added": ("new     ", "good"),
    "removed": ("removed ", "bad"),
    "changed": ("changed ", "warning"),
}


@contextmanager
def _rules_of(parsed: argparse.Namespace) -> Generator[ServerRules]:
    with server_of(parsed) as door:
        yield ServerRules(door)


def get(parsed: argparse.Namespace) -> int:
    """Print the rules in force, or those of a version, as they were put."""
    with _rules_of(parsed) as rules:
        found = rules.get(parsed.number)
    if found is None:
        sys.stderr.write("tollspan rules: the tenant has none yet\n")
        return 1
    if parsed.json:
        print_json(found)
        return 0
    sys.stdout.write(found.text)
    sys.stderr.write(f"version {found.version}\n")
    return 0


def put(parsed: argparse.Namespace) -> int:
    """Check a document as `config check` does, say what it changes, and put it in force."""
    found: list[Finding] = []
    wanted = check_document(Path(parsed.file), found)
    if wanted is None:
        if parsed.json:
            print_json({"findings": found})
        else:
            print_findings(found, None)
        return 1
    new, text = wanted
    odd = [one for one in found if one.status != "ok"]
    if not parsed.json:
        print_findings(odd, None)
    with _rules_of(parsed) as rules:
        before = rules.get()
        _check_version(before, parsed.over)
        changes = _changes(before, new)
        if parsed.dry_run:
            return _tell(parsed, changes, odd, None)
        with _explaining(before):
            return _tell(parsed, changes, odd, rules.put(text, before))


def history(parsed: argparse.Namespace) -> int:
    """List the versions, newest first."""
    with _rules_of(parsed) as rules:
        found = list(itertools.islice(rules.history(), parsed.newest))
    if parsed.json:
        print_json(found)
        return 0
    print_table(
        (
            Column("version", is_number=True),
            Column("put at (UTC)"),
            Column("by", is_wide=True),
            Column("bytes", is_number=True),
            Column("notes", if_any=True),
        ),
        [
            (
                str(one.version),
                one.put_at[:19].replace("T", " "),
                one.put_by,
                f"{one.bytes:,}",
                ", ".join(_notes(one, is_newest=number == 0)),
            )
            for number, one in enumerate(found)
        ],
    )
    return 0


def roll_back(parsed: argparse.Namespace) -> int:
    """Put the rules of an older version in force again."""
    with _rules_of(parsed) as rules:
        wanted, before = rules.get(parsed.number), rules.get()
        _check_version(before, parsed.over)
        assert wanted is not None, "the server says 404"
        changes = _changes(before, _parsed(wanted))
        if parsed.dry_run:
            return _tell(parsed, changes, [], None)
        with _explaining(before):
            return _tell(parsed, changes, [], rules.roll_back(parsed.number, before))


def _check_version(before: RulesAtServer | None, over: int | None) -> None:
    if over is None or over == (0 if before is None else before.version):
        return
    there = "none" if before is None else f"version {before.version}"
    raise ConfigError(
        f"rules: expected version {over} in force, and there is {there}; nothing was put. "
        "`tollspan rules get` shows it"
    )


def _changes(before: RulesAtServer | None, new: RuleSet | None) -> tuple[RuleChange, ...] | None:
    """Return what changes; None where one of both can't be read here."""
    old = RuleSet() if before is None else _parsed(before)
    return None if old is None or new is None else rule_changes(old, new)


def _parsed(document: RulesAtServer) -> RuleSet | None:
    try:
        return parse_rules(document.text, source=f"version {document.version}")
    except ConfigError as error:  # of a program that reads rules otherwise
        sys.stderr.write(f"tollspan rules: what changes is not known here: {error}\n")
        return None


@contextmanager
def _explaining(before: RulesAtServer | None) -> Generator[None]:
    """Say in other words that somebody else was faster."""
    try:
        yield
    except ServerRefusedError as error:
        if error.status != _OTHERS_IN_FORCE:
            raise
        was = "there were none" if before is None else f"version {before.version} was in force"
        raise ConfigError(
            f"rules: somebody else has changed them since this command looked, when {was}; "
            f"nothing was put. Look at theirs with `tollspan rules get`, then try again ({error})"
        ) from None


def _tell(
    parsed: argparse.Namespace,
    changes: tuple[RuleChange, ...] | None,
    odd: list[Finding],
    done: tuple[RulesVersionAtServer, bool] | None,
) -> int:
    """Say what changes, and what is in force; `done` is None where nothing was put."""
    made, is_new = done or (None, False)
    if parsed.json:
        print_json({"is_new": is_new, "rules": made, "changes": changes, "findings": odd})
        return 0
    for change in changes or ():
        _print_change(change)
    if made is None:
        print_line("nothing was put" if changes != () else "nothing would change")
    elif is_new:
        print_line(f"version {made.version} is in force")
    else:
        print_line(f"version {made.version} was in force already")
    _warn_of_own_rules(parsed)
    return 0


def _warn_of_own_rules(parsed: argparse.Namespace) -> None:
    """Say that programs here go by a file, where one is in force that was hardly meant so."""
    settings = read_settings(on_wrong=lambda _: None)
    if parsed.endpoint is None and settings.rules_named_by in ("the working folder", _HOME):
        sys.stderr.write(
            f"tollspan rules: programs started here go by {settings.document}, not by the "
            "server's rules; keep it elsewhere, or under another name, to have them go by these\n"
        )


def _print_change(change: RuleChange) -> None:
    word, style = _WORDS[change.what]
    name = "" if change.kind in ("budget", "policy") else f"{change.kind} {change.id}: "
    print_line(Cell(word, style), f"{name}{change.after or change.before}")
    if change.before is not None and change.after is not None:
        print_line("  before ", f"{name}{change.before}")
        if change.before == change.after:
            print_line("  in     ", ", ".join(change.keys))


def _notes(one: RulesVersionAtServer, *, is_newest: bool) -> list[str]:
    notes = ["in force"] if is_newest else []
    if one.rolled_back_to is not None:
        notes.append(f"version {one.rolled_back_to} again")
    return notes
