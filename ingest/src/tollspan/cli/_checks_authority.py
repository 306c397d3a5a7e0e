"""The doctor looks at the authority: which it is, whether it grants, and what endangers it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tollspan.budget import OWN_AUTHORITIES
from tollspan.launch import Settings
from tollspan.ledger import LEDGER_FILE, OpenHold, ServerReport
from tollspan.usage import ConfigError, LedgerError, format_amount, rfc3339

from ._authority import state_words
from ._checks import Check, Patient, good, many, problem, warning
from ._in_force import SharedAccounts, shared_accounts

_SLOW_SHARE = 0.2
_CLOCK_SLACK_SECONDS = 1.0
_MANY_EVENTS = 1_000
_MOST_NAMED = 5


def _authority(patient: Patient) -> Iterator[Check]:
    settings = patient.settings
    if settings.authority in OWN_AUTHORITIES:
        yield _own(patient)
        return
    named_by = _named_by(settings)
    try:
        with shared_accounts(settings=settings) as shared:
            yield from _shared(patient, shared, named_by)
    except ConfigError as error:
        yield problem(
            "authority",
            f"{named_by} names an authority that can't be had: {error}; `on_unavailable` decides",
            f"set {named_by} right",
        )


def _named_by(settings: Settings) -> str:
    if settings.names_authority:
        return "TOLLSPAN_AUTHORITY"
    is_default = settings.authority == settings.endpoint
    return "TOLLSPAN_ENDPOINT" if is_default else "the rules' document"


def _own(patient: Patient) -> Check:
    if patient.settings.authority == "memory:":
        return warning(
            "authority",
            "every process counts by itself (memory:), and forgets when it ends: a budget is one "
            "for each process, not one for all",
            "unset TOLLSPAN_AUTHORITY, or name an authority that is shared",
        )
    path = patient.settings.ledger_home / LEDGER_FILE
    return good("authority", f"the ledger of this host, {path}, has the accounts (sqlite:)")


def _shared(patient: Patient, shared: SharedAccounts, named_by: str) -> Iterator[Check]:
    authority = shared.authority
    try:
        epoch = authority.epoch()  # in a cluster, this leads to the node that has the keys
        report = authority.inspect()
    except LedgerError as error:
        yield problem(
            "authority",
            f"{authority.place}, named by {named_by}, can't be reached from here: {error}; calls go"
            " on from what is leased, then `on_unavailable` decides",
            "see that the server runs, and that address, password and firewall are right",
        )
        return
    yield _reached(report, authority.place, named_by, patient.settings.lease.wait_seconds)
    yield _opened(epoch)
    yield from _server(report)
    yield _clocks(report, patient.settings.lease.drift_seconds)
    try:
        yield _unsettled(shared.unsettled())
        yield _refused(shared)
        yield _unresolved(shared.unresolved())
    except LedgerError as error:
        yield problem(
            "authority.settling", f"can't be looked at: {error}", "see the ledger's check"
        )


def _reached(report: ServerReport, place: str, named_by: str, most_seconds: float) -> Check:
    milliseconds = report.round_trip_seconds * 1_000
    text = (
        f"{place}, named by {named_by}, has the accounts of all hosts: {report.server}, "
        f"{milliseconds:.1f} ms away"
    )
    if report.round_trip_seconds > most_seconds * _SLOW_SHARE:
        return warning(
            "authority",
            f"{text}; a call waits {most_seconds * 1_000:.0f} ms at most for a grant",
            "move it nearer, or raise TOLLSPAN_ACQUIRE_TIMEOUT",
        )
    return good("authority", text)


def _opened(epoch: str | None) -> Check:
    if epoch is not None:
        return good("authority.open", f"it {state_words(epoch)} (epoch {epoch})")
    return problem(
        "authority.open",
        "it is new, or has lost what it knew: it grants nothing, and `on_unavailable` decides",
        "where it had been open: `tollspan authority fill` on each host; then, once, "
        "`tollspan authority open`",
    )


def _server(report: ServerReport) -> Iterator[Check]:
    """One check for each risk would make ids that come and go: the worst one leads."""
    if not report.risks:
        yield good("authority.server", f"{report.server} is set up to keep what it is told")
        return
    text = "; ".join(one.text for one in report.risks)
    fix = "; ".join(one.fix for one in report.risks)
    is_problem = report.risks[0].severity == "problem"
    yield (problem if is_problem else warning)("authority.server", text, fix)


def _clocks(report: ServerReport, drift_seconds: float) -> Check:
    ahead = report.ahead_seconds
    if abs(ahead) <= _CLOCK_SLACK_SECONDS:
        return good("authority.clock", "its clock and this host's agree within a second")
    where = "ahead of" if ahead > 0 else "behind"
    return warning(
        "authority.clock",
        f"its clock is {abs(ahead):,.1f} s {where} this host's: hosts whose clocks differ count"
        " calls near the end of a period in different ones. Leases go by lengths of time, which"
        f" may differ by {drift_seconds:g} s",
        "let both be set by NTP",
    )


def _unsettled(count: int) -> Check:
    text = f"{many(count, 'event')} of this host wait to be settled with it"
    if count < _MANY_EVENTS:
        return good("authority.settling", text)
    return warning(
        "authority.settling",
        f"{text}: until then what they used counts as held, or as unresolved",
        "programs settle them while they run; so does `tollspan authority fill`",
    )


def _refused(shared: SharedAccounts) -> Check:
    """Say whether postings of this host wait for a key that may make them."""
    refused, told = shared.refused()
    if refused is None or (told is not None and told.last_unix_ns >= refused.last_unix_ns):
        return good("authority.postings", "it took every posting of this host's operators")
    return warning(
        "authority.postings",
        f"it refused {many(refused.count, 'posting')} that this host's operators made, last "
        f"{rfc3339(refused.last_unix_ns)[:19]}Z: they lower what is counted, and this host's key "
        "has not the scope admin",
        "`tollspan authority fill` with TOLLSPAN_API_KEY set to a key with the scopes ingest and "
        "admin, for this command alone",
    )


def _unresolved(holds: Sequence[OpenHold]) -> Check:
    if not holds:
        return good("authority.unresolved", "no ended lease of any host leaves anything open")
    texts = [
        f"{one.account.budget_id} {format_amount(one.amount, one.account.unit)}" for one in holds
    ]
    named = list(dict.fromkeys(texts))
    more = ", …" if len(named) > _MOST_NAMED else ""
    leases = len({one.call_id for one in holds})
    return warning(
        "authority.unresolved",
        f"{many(leases, 'lease')} ended without being given back: {', '.join(named[:_MOST_NAMED])}"
        f"{more} count though nobody knows whether it was spent",
        "`tollspan budgets --unresolved` lists it; late events take it down, `tollspan budget "
        "resolve` settles it, and the horizon takes it for spent",
    )


CHECKS = (_authority,)
