"""Law 1 where budgets are linked: a call must fit into each that touches it, or it is in none.

A team's projects share the team's budget, teams share the organisation's, and environments and
services have budgets across them. Calls cost exactly their bound. So at the end each owner's calls
must be refused by a budget that has no room for one more, and no other may hold anything for them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests import harness
from tests.e2e import fleet
from tests.e2e.fleet import Fleet
from tests.e2e.test_law1_inequality import dearest_call
from tests.fakes import FakeOpenAI
from tollspan.budget import Account, Balance
from tollspan.cli import main
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import Attribution, format_usd

pytestmark = pytest.mark.alone

SETTINGS = {"TOLLSPAN_ACQUIRE_TIMEOUT": "5", "TOLLSPAN_LEASE": "life=5,drift=0.2,horizon=86400"}
# Calls that fit into each. A team has one small project, and one for which it has too little.
LIMITS = {
    "organisation": {"": 150},
    "team": {"red": 70, "blue": 110},
    "project": {"red-1": 20, "red-2": 90, "blue-1": 30, "blue-2": 130},
    "environment": {"production": 100, "staging": 85},
    "service": {"chat": 80, "search": 120},
}
OWNERS = [
    ("red", "red-1", "staging", "chat"),
    ("red", "red-2", "production", "search"),
    ("blue", "blue-1", "production", "chat"),
    ("blue", "blue-2", "staging", "search"),
    ("blue", "blue-2", "production", "chat"),
    ("red", "red-2", "staging", "search"),
]
_Name = tuple[str, str]


def budgets(bound: int) -> str:
    """Write the budgets, by their limits in calls, with no room for one more."""
    found: list[str] = []
    for name, calls in LIMITS.items():
        limits = {value: f"{format_usd(limit_of(n, bound))} USD" for value, n in calls.items()}
        if name == "organisation":
            found.append(f"{{id: {name}, limit: {limits['']}}}")
        else:
            parts = f"per: [{name}], limit: 0 USD, limits: {json.dumps(limits)}"
            found.append(f"{{id: {name}, {parts}}}")
    return ", ".join(found)


def limit_of(calls: int, bound: int) -> int:
    """Return a limit in nano-USD for so many calls."""
    return calls * bound + bound - 1


def settings_of(owner: tuple[str, str, str, str]) -> dict[str, str]:
    """Return the settings of a process that calls for an owner."""
    team, project, environment, service = owner
    return {
        "TOLLSPAN_TEAM": team,
        "TOLLSPAN_PROJECT": project,
        "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={environment}",
        "OTEL_SERVICE_NAME": service,
    }


def accounts_of(team: str, project: str, environment: str, service: str) -> list[_Name]:
    """Name the accounts that count a call: budget and value."""
    own = (("team", team), ("project", project))
    return [("organisation", ""), *own, ("environment", environment), ("service", service)]


def accounts(bound: int) -> dict[_Name, Account]:
    """Return all accounts."""
    return {
        (name, value): Account(
            budget_id=name,
            scope=json.dumps({name: value}, separators=(",", ":")) if value else "",
            period="",
            limit=limit_of(calls, bound),
        )
        for name, values in LIMITS.items()
        for value, calls in values.items()
    }


def spend(homes: Sequence[Path], fake: FakeOpenAI, prompt_bytes: int, **settings: str) -> None:
    """Have a process for each owner, all at once, spend as much as it may."""
    workers = Fleet(
        fake,
        homes,
        threads=4,
        prompt_bytes=prompt_bytes,
        environ={**SETTINGS, **settings},
        owners=[settings_of(owner) for owner in OWNERS],
    )
    with fleet.running(workers, len(OWNERS)):
        workers.await_calls(40)
        workers.finish()
        workers.spend_the_rest()
    assert workers.report.failed == []


def calls_by_account(homes: Sequence[Path]) -> Counter[_Name]:
    """Count the calls that have events, in each account that counts them."""
    found: Counter[_Name] = Counter()
    for home in homes:
        for event in harness.usage_events(home):
            who: Attribution = event.call.attribution
            found.update(
                accounts_of(
                    who.team or "", who.project or "", who.environment or "", who.service or ""
                )
            )
    return found


def check(
    balances: dict[_Name, Balance], fake: FakeOpenAI, homes: Sequence[Path], bound: int
) -> None:
    """Compare all accounts with the provider and the events, and see that all could be spent."""
    calls = calls_by_account(homes)
    assert calls["organisation", ""] == fake.hits
    for name, balance in balances.items():
        assert (balance.posted, balance.held, balance.unresolved) == (calls[name] * bound, 0, 0)
        assert balance.posted <= balance.account.limit
    for owner in OWNERS:
        rooms = {name: LIMITS[name[0]][name[1]] - calls[name] for name in accounts_of(*owner)}
        assert min(rooms.values()) == 0, f"{owner} was refused, though there is room: {rooms}"


def test_processes_of_one_host_share_linked_budgets_of_teams_projects_and_services(
    tmp_path: Path,
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    home = tmp_path / "home"
    harness.write_rules(home, budgets=budgets(bound))
    with FakeOpenAI(dearest.reply, keep_requests=10_000) as fake:
        spend([home], fake, dearest.prompt_bytes, TOLLSPAN_LEASES="always")
        found = {
            (one.account.budget_id, one.account.scope): one
            for one in LedgerReader(home / LEDGER_FILE).balances()
        }
        named = accounts(bound).items()
        balances = {name: found[account.budget_id, account.scope] for name, account in named}
        check(balances, fake, [home], bound)


@pytest.mark.service
def test_hosts_share_linked_budgets_of_teams_projects_and_services(
    tmp_path: Path, redis_url: str
) -> None:
    dearest = dearest_call(tmp_path / "probe")
    bound = dearest.bound_nanousd
    homes = [tmp_path / "host-1", tmp_path / "host-2"]
    for home in homes:
        harness.write_rules(home, budgets=budgets(bound))
    assert main(["authority", "open", redis_url]) == 0
    with FakeOpenAI(dearest.reply, keep_requests=10_000) as fake:
        spend(homes, fake, dearest.prompt_bytes, TOLLSPAN_AUTHORITY=redis_url)
        named = accounts(bound)
        balances = fleet.settled_of(redis_url, list(named.values()))
        check(dict(zip(named, balances, strict=True)), fake, homes, bound)
