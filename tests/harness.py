"""Runs things under tollspan: in this process, or as programs of their own under `tollspan run`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tollspan.budget import Balance, is_allowance
from tollspan.launch import Installed, install_or_raise, read_settings, uninstall
from tollspan.ledger import LEDGER_FILE, LedgerReader
from tollspan.usage import DecisionEvent, UsageEvent

ROOT = Path(__file__).parent.parent
RULES = """
version: 1
budgets: [{budgets}]
hosts: {hosts}
"""
HOSTS = {"127.0.0.1": "openai"}
OTHERS = "openai,anthropic,requests,urllib3,httpx,httpx2"
"""Instrumentors that a launcher would load here besides ours: those of SDKs and of HTTP clients."""


def write_rules(
    folder: Path,
    *,
    limit: str = "100",
    budgets: str | None = None,
    hosts: Mapping[str, str] = HOSTS,
    text: str | None = None,
) -> Path:
    """Write a document with one lifetime budget `all`, or others, or the given text."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tollspan.yaml"
    named = json.dumps(dict(hosts))  # a host may be one port of ours: `127.0.0.1:5000`
    path.write_text(
        textwrap.dedent(text)
        if text
        else RULES.format(budgets=budgets or f"{{id: all, limit: {limit} USD}}", hosts=named)
    )
    return path


def environment(home: Path, base_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a program under test: this one's, without its own settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("TOLLSPAN_", "OTEL_", "OPENAI_", "PYTHONPATH"))
    }
    return {
        **kept,
        "TOLLSPAN_HOME": str(home),
        "OPENAI_BASE_URL": base_url,
        "OPENAI_API_KEY": "sk-test",
        "PYTHONPATH": str(ROOT),
        **more,
    }


@contextmanager
def installed(
    home: Path,
    *,
    limit: str = "100",
    budgets: str | None = None,
    hosts: Mapping[str, str] = HOSTS,
    **env: str,
) -> Iterator[Installed]:
    """Install tollspan in this process with one lifetime budget or others, and take it off."""
    write_rules(home, limit=limit, budgets=budgets, hosts=hosts)
    settings = read_settings({"TOLLSPAN_HOME": str(home), **env})
    try:
        yield install_or_raise(settings)
    finally:
        uninstall()


def program(code: str) -> list[str]:
    """Return the command that runs Python code under `tollspan run`."""
    return [
        str(Path(sys.executable).parent / "tollspan"),
        "run",
        sys.executable,
        "-c",
        textwrap.dedent(code),
    ]


def run(
    command: list[str], env: Mapping[str, str], *, timeout_seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return what it printed."""
    return subprocess.run(
        command,
        env=dict(env),
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
        cwd=env["TOLLSPAN_HOME"],
    )


def balance(home: Path, budget_id: str = "all") -> Balance:
    """Return how the one account of a budget stands."""
    found = [
        one
        for one in LedgerReader(home / LEDGER_FILE).balances()
        if one.account.budget_id == budget_id and not is_allowance(one.account.period)
    ]
    assert len(found) == 1, found
    return found[0]


def usage_events(home: Path) -> list[UsageEvent]:
    """Return every usage event of a ledger."""
    return [one for one in LedgerReader(home / LEDGER_FILE).events() if isinstance(one, UsageEvent)]


def denials(home: Path) -> list[DecisionEvent]:
    """Return every refusal of a ledger."""
    return [
        one
        for one in LedgerReader(home / LEDGER_FILE).events()
        if isinstance(one, DecisionEvent) and one.warning is None
    ]
