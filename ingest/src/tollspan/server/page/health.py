"""`/health`: what comes in now, from whom, how long after it ended, and what goes out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response

from tollspan.ledger.central import GRAINS_NS, Backlog, CentralLedger, Sender
from tollspan.server.tally import ACCEPTED, BEYOND, DUPLICATE, LAG, LAG_SECONDS, REJECTED

from . import views
from .charts import Chart, bars_of, share
from .presenting import PageRoute, show
from .ranged import PlaceParameters, hidden_pairs, unix_ns
from .visiting import Place, Visits

PATH: Final = "/health"
_MINUTES: Final = 60
_RECENT_MINUTES: Final = 10
_DAY: Final = timedelta(days=1)
_NS: Final = 10**9
BEHIND_SECONDS: Final = 60
"""A sender whose newest call came longer after its end than this is behind: it ships oldest first,
so others wait there."""
_QUIET_SECONDS: Final = 3_600
_LISTED: Final = 100


class SenderLine(msgspec.Struct, frozen=True, kw_only=True):
    """Who sends, and how it does.

    Attributes:
        of: What is known.
        heard: How long ago something new came.
        behind: How long after its end its newest call came.
        state: In a word: `on time`, `behind`, `quiet`.
    """

    of: Sender
    heard: str
    behind: str
    state: str


class LagLine(msgspec.Struct, frozen=True, kw_only=True):
    """How many events came within a time after their calls' ends."""

    words: str
    events: int
    share: str


class Intake(msgspec.Struct, frozen=True, kw_only=True):
    """What came in.

    Attributes:
        per_minute: New events in a minute, by the last ten whole ones: ten times that.
        chart: New events by minute, of the last hour; None where none came.
        accepted, duplicates: In the last day.
        rejected: Likewise, by reason.
        lags: How late new events came in the last day.
    """

    last_ten_minutes: int
    chart: Chart | None
    accepted: int
    duplicates: int
    rejected: Mapping[str, int]
    lags: tuple[LagLine, ...]


class HookLine(msgspec.Struct, frozen=True, kw_only=True):
    """A target of webhooks, without what its address may keep secret."""

    place: str
    label: str
    state: str


def health_routes(
    ledger: CentralLedger,
    visits: Visits,
    now: Callable[[], datetime],
    note_down: Callable[[], None],
) -> APIRouter:
    """Return the routes; what this server has counted and not yet noted is noted first."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get(PATH)
    def health(request: Request, _: Annotated[PlaceParameters, Query()]) -> Response:
        """Show how events come in, and webhooks go out."""
        note_down()
        return _health(ledger, visits.place(request), now())

    return router


def _health(ledger: CentralLedger, place: Place, now: datetime) -> Response:
    tenant = place.tenant
    senders = [sender_line(one, now) for one in reversed(ledger.receipts.senders(tenant))]
    hooks = [
        HookLine(place=views.host_of(one.url), label=one.label, state=_hook_state(
            is_active=one.is_active, failures=one.failures
        ))
        for one in ledger.webhooks.all(tenant)
    ]  # fmt: skip
    backlog: Backlog = ledger.deliveries.backlog_of(tenant)
    return show(
        "health", visitor=place.visitor, tenant=tenant, here="health", hidden=hidden_pairs(place),
        intake=intake_of(ledger, tenant, now), senders=senders[:_LISTED],
        left=len(senders) - _LISTED, newest=next(iter(senders), None),
        latest=max(
            (one for one in senders if one.state == "behind"), key=_behind_ns, default=None
        ),
        hooks=hooks, backlog=backlog, behind_seconds=BEHIND_SECONDS,
        waits_since=None if backlog.oldest_unix_ns is None
        else views.ago(backlog.oldest_unix_ns, unix_ns(now)),
    )  # fmt: skip


def _behind_ns(line: SenderLine) -> int:
    return line.of.behind_ns


def sender_line(sender: Sender, now: datetime) -> SenderLine:
    """Return a sender as it is shown at a time."""
    silent = (unix_ns(now) - sender.received_unix_ns) // _NS
    state = "on time"
    if sender.behind_ns > BEHIND_SECONDS * _NS:
        state = "behind"
    elif silent > _QUIET_SECONDS:
        state = "quiet"
    return SenderLine(
        of=sender, heard=views.ago(sender.received_unix_ns, unix_ns(now)),
        behind=views.span(sender.behind_ns // _NS) if sender.behind_ns >= _NS else "under a second",
        state=state,
    )  # fmt: skip


def intake_of(ledger: CentralLedger, tenant: str, now: datetime) -> Intake:
    """Return what came in for a tenant, up to a time."""
    at, minute_ns = unix_ns(now), GRAINS_NS["minute"]
    this = at // minute_ns
    by_minute = ledger.receipts.by_minute(tenant, (this - _MINUTES) * minute_ns)
    counts = [
        (minute, by_minute.get(minute, {}).get(ACCEPTED, 0))
        for minute in range(this - _MINUTES, this)
    ]
    labelled = [
        (f"{datetime.fromtimestamp(minute * 60, UTC):%H:%M}", count) for minute, count in counts
    ]
    day = ledger.receipts.sums(tenant, unix_ns(now - _DAY), at)
    return Intake(
        last_ten_minutes=sum(count for _, count in counts[-_RECENT_MINUTES:]),
        chart=bars_of(labelled, "count", "minute"),
        accepted=day.get(ACCEPTED, 0),
        duplicates=day.get(DUPLICATE, 0),
        rejected={
            what.removeprefix(REJECTED).replace("_", " "): number
            for what, number in sorted(day.items(), key=lambda one: -one[1])
            if what.startswith(REJECTED)
        },
        lags=_lags(day),
    )


def _lags(day: Mapping[str, int]) -> tuple[LagLine, ...]:
    counts = [(seconds, day.get(f"{LAG}{seconds}", 0)) for seconds in LAG_SECONDS]
    most = max(*(count for _, count in counts), day.get(f"{LAG}{BEYOND}", 0))
    lines = [
        LagLine(words=f"within {views.span(seconds)}", events=count, share=share(count, most))
        for seconds, count in counts
    ]
    beyond = day.get(f"{LAG}{BEYOND}", 0)
    lines.append(LagLine(words="later", events=beyond, share=share(beyond, most)))
    return tuple(lines)


def _hook_state(*, is_active: bool, failures: int) -> str:
    if not is_active:
        return "switched off"
    return f"{failures:,} attempts failed in a row" if failures else "reachable"
