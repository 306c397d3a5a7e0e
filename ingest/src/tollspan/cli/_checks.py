"""What `tollspan doctor` finds, as values; the ids are stable and documented."""

from __future__ import annotations

from typing import Literal

import msgspec

from tollspan.launch import Settings
from tollspan.usage import ConfigError

Status = Literal["ok", "warning", "problem"]
ORDER: tuple[Status, ...] = ("ok", "warning", "problem")

# id → what is looked at. Ids never change their meaning, and only grow; one for each SDK besides.
CHECK_IDS = {
    "python": "The interpreter that `tollspan` itself runs in: version, and whether start-up hooks "
    "run in it.",
    "settings": "Every `TOLLSPAN_*` variable: its value, and whether there is such a variable.",
    "mode": "Whether the gate is in force: `TOLLSPAN_MODE`.",
    "rules": "The rules' document: found, and valid.",
    "rules.address": "Of rules at an address: whether it answers, and how old the copy here is.",
    "rules.fail_open": "Defaults that let calls through where nobody can say what they cost.",
    "rules.reach": "Budgets that touch no call, or that refuse none.",
    "prices": "The price book, and your own prices over it.",
    "prices.age": "How old the price book is.",
    "prices.pinned": "Whether a book is pinned, which newer ones do not replace.",
    "sdk.<package>": "A gated SDK: whether it is installed, and in a supported version.",
    "sdk.others": "SDKs that are installed, make calls that cost money, and are not gated.",
    "install.order": "SDKs that a program imported before tollspan was installed in it.",
    "otel.start": "Whether `opentelemetry-instrument`, tried here, comes to tollspan's hook. It "
    "gives up before, for exporters, propagators or id generators that are not installed, a wrong "
    "protocol, a configuration file that is wrong or not there, others' hooks that raise.",
    "otel.spans": "Whether spans are made, and where they go when the program says nothing.",
    "disk": "Whether the ledger's folder can be written, and is on a local file system.",
    "disk.space": "Free space for the ledger.",
    "disk.container": "Whether the folder dies with a container, or with the host's memory.",
    "ledger": "Whether the ledger opens, and what is in it.",
    "ledger.room": "How much of TOLLSPAN_LEDGER_SIZE the ledger takes.",
    "ledger.rescued": "Events that were put aside while the ledger could not take them.",
    "outbox": "Where events are sent to an ingest API: what waits, since when, and why.",
    "outbox.dead_letters": "Events that the ingest API refused for good.",
    "authority": "Who has the accounts: this host's ledger, or an authority that many hosts share; "
    "whether that can be reached, and how far away it is.",
    "authority.open": "Of a shared authority: whether it grants.",
    "authority.server": "Of a shared authority: settings of its server that endanger money.",
    "authority.clock": "Of a shared authority: whether its clock and this host's agree.",
    "authority.settling": "Of a shared authority: events of this host that it was not told yet.",
    "authority.postings": "Of a shared authority: what operators of this host posted in vain.",
    "authority.unresolved": "Of a shared authority: what ended leases of any host leave open.",
    "clock": "Whether the clock is behind the newest event, or behind the price book.",
    "budgets.unresolved": "Money that is counted though nobody knows whether it was spent.",
    "sightings.past_the_gate": "Requests that may cost money and went past the gate.",
    "sightings.not_metered": "Clients and requests that are known and not metered yet.",
    "sightings.not_enforced": "Calls that went on though other people's spans of them were "
    "refused.",
    "sightings.mode": "Programs that ran while the gate was not in force.",
    "sightings.folded": "Events that were folded into totals before any server had them.",
    "sightings.unwrapped": "Methods that tollspan wraps and did not find in an SDK.",
}


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at.

    Attributes:
        id: Stable; see `CHECK_IDS`.
        status: `problem`: calls are not gated, not counted or refused for it. `warning`: look.
        text: What was found.
        fix: What to do; null where nothing is to be done.
    """

    id: str
    status: Status
    text: str
    fix: str | None = None


class Patient(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks look at.

    Attributes:
        settings: As read, with the default in place of each wrong value.
        wrong: What is wrong with the settings.
        environ: The environment.
    """

    settings: Settings
    wrong: tuple[ConfigError, ...]
    environ: dict[str, str]


def many(count: int, noun: str, plural: str | None = None) -> str:
    """Write a count with its noun: `1 event`, `2,000 events`."""
    return f"{count:,} {noun if count == 1 else plural or f'{noun}s'}"


def good(check_id: str, text: str) -> Check:
    """Make a check that found nothing wrong."""
    return Check(id=check_id, status="ok", text=text)


def warning(check_id: str, text: str, fix: str) -> Check:
    """Make a check that found something to look at."""
    return Check(id=check_id, status="warning", text=text, fix=fix)


def problem(check_id: str, text: str, fix: str) -> Check:
    """Make a check that found something broken."""
    return Check(id=check_id, status="problem", text=text, fix=fix)
