"""The doctor looks at the interpreter, the settings, the rules and the prices."""

from __future__ import annotations

import difflib
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime

from tollspan.budget import LETS_PASS, RuleSet, read_rules
from tollspan.exporter import Fetched, shown
from tollspan.launch import (
    PINNED_BOOK,
    SETTINGS,
    Settings,
    book_in_force,
    load_prices,
    refresh_rules,
)
from tollspan.pricing import PriceBook, inspect_book
from tollspan.usage import ConfigError, TollspanError, rfc3339

from ._checks import Check, Patient, good, many, problem, warning
from ._reach import why_unreachable
from ._rules_source import source_words

_OURS = "TOLLSPAN_"
_OLD_BOOK_DAYS = 60


def _python(patient: Patient) -> Iterator[Check]:  # noqa: ARG001 - as every check
    name = f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})"
    flags = [
        flag
        for flag, is_on in (
            ("-I", sys.flags.isolated),
            ("-E", sys.flags.ignore_environment and not sys.flags.isolated),
            ("-S", sys.flags.no_site),
        )
        if is_on
    ]
    if flags:
        yield warning(
            "python",
            f"{name} runs with {' '.join(flags)}: a program that is started so runs no start-up "
            "hook, and `tollspan run` gates nothing in it",
            "take the flag out, or call tollspan.api.install() in the program",
        )
        return
    yield good("python", name)


def _settings(patient: Patient) -> Iterator[Check]:
    known = [setting.name for setting in SETTINGS]
    unknown = [
        name for name in sorted(patient.environ) if name.startswith(_OURS) and name not in known
    ]
    if patient.wrong:
        yield problem(
            "settings",
            "; ".join(str(error) for error in patient.wrong),
            "until it is mended, the default is taken",
        )
        return
    if unknown:
        meant = difflib.get_close_matches(unknown[0], known, n=1)
        yield warning(
            "settings",
            f"there is no setting {', '.join(unknown)}: nothing reads it",
            f"write {meant[0]}" if meant else "see docs/reference/settings.md",
        )
        return
    yield good("settings", "every TOLLSPAN_* variable has a value that can be used")


def _rules(patient: Patient) -> Iterator[Check]:
    document = patient.settings.document
    if document is None:
        yield warning(
            "rules",
            "no tollspan.yaml was found here or in TOLLSPAN_HOME: calls are metered, none is "
            "refused",
            "write one, or name it in TOLLSPAN_CONFIG",
        )
        return
    if patient.settings.rules_url is not None:
        try:
            known = refresh_rules(patient.settings) or Fetched()
        except ConfigError as error:
            yield _never_had(patient.settings, error)
            return
        yield _fetched(patient.settings, known)
        if known.has_none:
            yield _none_on_server(patient.settings)
            return
    try:
        rules = read_rules(document)
    except ConfigError as error:
        yield problem(
            "rules", f"{error}; every call is refused until it is mended", "mend that line"
        )
        return
    more = f" and {many(len(rules.policies), 'policy', 'policies')}" if rules.policies else ""
    where = source_words(patient.settings)
    yield good("rules", f"{many(len(rules.budgets), 'budget')}{more} in {document}, {where}")
    yield _fail_open(rules)
    yield _reach(rules, patient)


def _never_had(settings: Settings, error: ConfigError) -> Check:
    denied = settings.on_cold_start == "deny"
    done = "every call is refused" if denied else "no call is asked for"
    named_by = settings.rules_named_by
    return problem(
        "rules.address",
        f"{error}: {done} until they come",
        f"see to that address, which is {named_by}'s",
    )


def _none_on_server(settings: Settings) -> Check:
    return warning(
        "rules",
        "no tollspan.yaml was found here or in TOLLSPAN_HOME, and the ingest server "
        f"{shown(settings.endpoint or '')} has no rules for this key: calls are metered, none is "
        "refused",
        "put some there, which are in force on all its hosts (`tollspan rules put FILE`), or write "
        "a tollspan.yaml",
    )


def _fetched(settings: Settings, known: Fetched) -> Check:
    """Say how the rules at an address were to be had."""
    url = shown(settings.rules_url or "")
    since = rfc3339(known.changed_at_unix_ns)
    if known.problem is not None:
        return warning(
            "rules.address",
            f"{url}: {known.problem}; in force is the copy of {since}",
            "see to that address",
        )
    if known.has_none:
        return good("rules.address", f"{url} answers: it has none for this key")
    return good("rules.address", f"{url} answers; its rules are of {since}")


def _fail_open(rules: RuleSet) -> Check:
    open_rules = [
        text
        for is_open, text in (
            (rules.on_unavailable == "allow", "`on_unavailable: allow`: an outage spends"),
            (rules.on_unpriced == "allow", "`on_unpriced: allow`: models without a price spend"),
        )
        if is_open
    ]
    if open_rules:
        return warning(
            "rules.fail_open",
            f"calls go through uncounted where the defaults say so: {'; '.join(open_rules)}",
            "write `deny`, or keep it where going on matters more than the limit",
        )
    return good("rules.fail_open", "what can't be asked or bounded is refused or held in full")


def _reach(rules: RuleSet, patient: Patient) -> Check:
    if not rules.budgets:
        refuses = any(policy.on_violation == "deny" for policy in rules.policies)
        what = "only policies refuse calls" if refuses else "nothing is refused"
        return warning("rules.reach", f"the document has no budget: {what}", "add one to `budgets`")
    try:
        lost = why_unreachable(rules, load_prices(patient.settings))
    except TollspanError:  # the check of the prices says so
        lost = {}
    if lost:
        named = "; ".join(f"{name} ({why})" for name, why in lost.items())
        return warning(
            "rules.reach",
            f"budgets that count no call: {named}",
            "mend their `where`, or take them out",
        )
    soft = [budget.id for budget in rules.budgets if budget.on_exceed in LETS_PASS]
    if len(soft) == len(rules.budgets):
        return warning(
            "rules.reach",
            "no budget refuses a call: `on_exceed` of all is warn or shadow",
            "write `on_exceed: deny` where the limit must hold",
        )
    more = f"; {', '.join(soft)} only warn or note" if soft else ""
    return good("rules.reach", f"every budget can count calls{more}")


def _mode(patient: Patient) -> Iterator[Check]:
    mode = patient.settings.mode
    if mode != "enforce":
        yield problem(
            "mode",
            f"TOLLSPAN_MODE is {mode}: no call is refused, whatever the budgets say",
            "take the variable out when the incident is over",
        )
        return
    yield good("mode", "the gate is in force")


def _prices(patient: Patient) -> Iterator[Check]:
    settings = patient.settings
    try:
        book = load_prices(settings)
        in_force = book_in_force(settings)
        info = inspect_book(in_force)
    except TollspanError as error:
        yield problem(
            "prices",
            f"{error}; calls that have a budget are refused until it is mended",
            "mend that line, or run `tollspan prices check`",
        )
        return
    yield good("prices", f"book {book.book_id}, {info.models:,} models{_own(settings, book)}")
    yield _age(date.fromisoformat(info.date))
    if in_force is not None and in_force.name == PINNED_BOOK:
        yield warning(
            "prices.pinned",
            f"{in_force} is pinned (sha256 {info.file_sha256}): newer books do not replace it",
            "delete the file, or run `tollspan prices update` with a newer book",
        )
    else:
        whose = "ships with tollspan" if in_force is None else f"is {in_force}"
        yield good("prices.pinned", f"no book is pinned; the one in force {whose}")


def _own(settings: Settings, book: PriceBook) -> str:
    if settings.prices is None:
        return ""
    return f"; your own prices are {settings.prices} (sha256 {book.book_id.partition('+')[2]}…)"


def _age(made: date) -> Check:
    days = (datetime.now(UTC).date() - made).days
    text = f"the price book is of {made.isoformat()}, {days} days ago"
    if days > _OLD_BOOK_DAYS:
        return warning(
            "prices.age",
            f"{text}: newer models have no price in it",
            "upgrade tollspan, or run `tollspan prices update`",
        )
    return good("prices.age", text if days > 0 else f"the price book is of {made.isoformat()}")


CHECKS = (_python, _settings, _mode, _rules, _prices)
