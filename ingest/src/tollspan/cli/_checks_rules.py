"""The doctor looks at the interpreter, the settings, the rules and the prices."""

from __future__ import annotations

import difflib
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime

from tollspan.budget import RuleSet, read_rules
from tollspan.launch import PINNED_BOOK, SETTINGS, Settings, book_in_force, load_prices
from tollspan.pricing import PriceBook, inspect_book
from tollspan.usage import ConfigError, TollspanError

from ._checks import Check, Patient, good, problem, warning

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
    try:
        rules = read_rules(document)
    except ConfigError as error:
        yield problem(
            "rules", f"{error}; every call is refused until it is mended", "mend that line"
        )
        return
    count = len(rules.budgets)
    yield good("rules", f"{count} budget{'' if count == 1 else 's'} in {document}")
    yield _fail_open(rules)
    yield _reach(rules)


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


def _reach(rules: RuleSet) -> Check:
    if not rules.budgets:
        return warning(
            "rules.reach", "the document has no budget: nothing is refused", "add one to `budgets`"
        )
    return good("rules.reach", "every budget can touch a call, and refuse it")


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


CHECKS = (_python, _settings, _rules, _prices)
