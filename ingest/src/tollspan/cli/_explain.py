"""`tollspan config explain`: what the rules say of one call, before anybody makes it."""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Generator, Sequence
from pathlib import Path

import msgspec

from tollspan.budget import (
    Account,
    Balance,
    BudgetGate,
    Looking,
    Matching,
    RuleSet,
    fullest,
    matchings,
    read_rules,
)
from tollspan.launch import Settings, load_prices, read_settings, with_rules
from tollspan.pricing import PriceBook
from tollspan.usage import (
    DIMENSIONS,
    TAG_PREFIX,
    TOOL_PROVIDER,
    Attribution,
    Call,
    ConfigError,
    Request,
    TollspanError,
    merge_attributions,
    new_call_id,
    read_attribution,
)

from ._config_parser import OWNER_OPTIONS
from ._explanation import Explanation, Touch, print_explanation
from ._in_force import accounts_in_force
from ._prices import one_provider
from ._rules_source import NO_RULES
from ._terminal import print_json


def explain(parsed: argparse.Namespace) -> int:
    """Explain one call; exit code 0 whether it would be let through or not."""
    settings = read_settings()
    rules = _rules(settings, parsed.config)
    settings = with_rules(settings, rules)
    book = load_prices(settings)
    at_unix_ns = time.time_ns() if parsed.at is None else parsed.at
    call = Call(
        id=new_call_id(at_unix_ns),
        started_at_unix_ns=at_unix_ns,
        request=_request(book, parsed),
        attribution=merge_attributions(settings.attribution, _attribution(parsed)),
        door="instrumentor",
    )
    explanation = _explain(settings, rules, book, call)
    if parsed.json:
        print_json(explanation.as_json())
    else:
        print_explanation(explanation)
    return 0


def _rules(settings: Settings, file: str | None) -> RuleSet:
    document = settings.document if file is None else Path(file)
    if document is None:
        raise ConfigError(f"{NO_RULES}; name one by --config")
    return read_rules(document)


def _request(book: PriceBook, parsed: argparse.Namespace) -> Request:
    if (parsed.model is None) == (parsed.tool is None):
        raise TollspanError("which call? Name one by --model or by --tool")
    if parsed.tool is not None:
        return Request(provider=TOOL_PROVIDER, operation="execute_tool", model=parsed.tool)
    provider, model = one_provider(book, parsed.provider, parsed.model)
    return Request(
        provider=provider,
        operation=parsed.operation,
        model=model,
        input_bytes=parsed.input_bytes,
        max_output_tokens=parsed.max_output,
    )


def _attribution(parsed: argparse.Namespace) -> Attribution:
    """Return whom the options say that the call is for."""
    tags = {name.removeprefix(TAG_PREFIX): value for name, value in parsed.tag}
    said = {name: getattr(parsed, name) for name in OWNER_OPTIONS}
    stated = read_attribution({**{name: said[name] for name in DIMENSIONS}, "tags": tags})
    return msgspec.structs.replace(stated, service=said["service"], environment=said["environment"])


def _explain(settings: Settings, rules: RuleSet, book: PriceBook, call: Call) -> Explanation:
    with _standing(settings) as looking:
        gate = BudgetGate(rules, book, looking, mode=settings.mode)
        decision = gate.check(call, looking)
        accounts = gate.accounts(call)
        seen = {one.budget.id: one for one in matchings(rules, call)}
        touching = {account.budget_id for account in accounts}
        return Explanation(
            call=call,
            source=rules.source,
            decision=decision,
            touches=_touches(accounts, looking, seen),
            others=tuple(one for name, one in seen.items() if name not in touching),
        )


def _touches(
    accounts: Sequence[Account], looking: Looking, seen: dict[str, Matching]
) -> tuple[Touch, ...]:
    asked = dict(looking.hold_asked.legs) if looking.hold_asked is not None else {}
    return tuple(
        Touch(balance=balance, asked=asked.get(balance.account), matching=seen[name])
        for balance in fullest(looking.balances(accounts))
        if (name := balance.account.budget_id) in seen
    )


@contextlib.contextmanager
def _standing(settings: Settings) -> Generator[Looking]:
    """Say how accounts stand, at the authority that decides for programs here."""
    if settings.authority == "memory:":  # a program that starts now finds nothing
        yield Looking(_nothing_counted)
        return
    with accounts_in_force(settings) as accounts:
        yield Looking(accounts.balances, touch=accounts.touch)


def _nothing_counted(accounts: Sequence[Account]) -> tuple[Balance, ...]:
    return tuple(Balance(account=account) for account in accounts)
