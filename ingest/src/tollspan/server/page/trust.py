"""`/trust`: how far the figures can be trusted, and what is in doubt; `/events`: those events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tollspan.ledger.central import (
    CentralLedger,
    Doubt,
    EventQuery,
    StoredEvent,
    UsageSums,
)
from tollspan.server.tally import DUPLICATE, REJECTED
from tollspan.usage import Adjustment, DecisionEvent, Reversal, UsageEvent

from . import views
from .charts import share
from .links import address
from .presenting import PageRoute, show
from .ranged import Ranged, hidden_pairs, read_place, total_of, unix_ns, within, write_place
from .ranges import RANGES, Span
from .visiting import Place, Visits

PATH: Final = "/trust"
EVENTS_PATH: Final = "/events"
_LISTED: Final = 50
TITLES: Final[Mapping[Doubt, str]] = {
    "unpriced": "Unpriced",
    "unknown": "Unknown usage",
    "estimated": "Estimated usage",
    "late": "Late",
    "suspected_duplicate": "Suspected duplicates",
    "taken_back": "Corrections",
}
WORDS: Final[Mapping[Doubt, str]] = {
    "unpriced": "No price is known for the model, or for a part of what was used. What is known of "
    "it is in the sums; the rest is missing there.",
    "unknown": "The call was made, and nobody said what it used. Its cost is missing in the sums.",
    "estimated": "The provider did not say what was used, a stream that was left early say. The "
    "estimate is in the sums.",
    "late": "It came more than an hour after it began. It is in the sums of its own time, which "
    "have grown since.",
    "suspected_duplicate": "It may be a call that is counted already: two events have one answer's "
    "id, say, and tell different things. Both are in the sums.",
    "taken_back": "Events that were taken back, as another one tells the call better, or prices it "
    "anew. They are in no sum; what counts instead is.",
}
_REASONS: Final[Mapping[str, str]] = {
    "superseded": "another event tells this call better",
    "repriced": "it was priced anew",
}


class EventsParameters(Ranged):
    """Which events are asked for."""

    of: Doubt = Field("unpriced")


class DoubtLine(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of doubt.

    Attributes:
        title, words: What it is.
        calls: How many.
        nanousd: Their money; None where nobody knows it.
        share: How wide the bar of their part of all calls is.
        link: To them.
    """

    title: str
    words: str
    calls: int
    nanousd: int | None
    share: str
    link: str


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """An event in doubt, and why it is."""

    at_unix_ns: int
    call: str
    customer: str | None
    model: str
    service: str | None
    nanousd: int | None
    status: str
    why: str


class Trust(msgspec.Struct, frozen=True, kw_only=True):
    """How much of the calls and the money is certain.

    Attributes:
        exact_calls: Calls whose whole price and usage are known: at least so many, as one call can
            be in doubt for two reasons.
        exact_nanousd: The money that was priced by reported usage and is suspected of nothing:
            likewise.
    """

    exact_calls: int
    exact_nanousd: int


def trust_of(sums: UsageSums) -> Trust:
    """Return how much of sums is certain."""
    doubtful = sums.unpriced + sums.unknown + sums.estimated
    money = sums.estimated_nanousd + sums.suspected_nanousd
    return Trust(
        exact_calls=max(0, sums.calls - doubtful),
        exact_nanousd=max(0, sums.cost_nanousd - money),
    )


def trust_routes(
    ledger: CentralLedger,
    visits: Visits,
    now: Callable[[], datetime],
    note_down: Callable[[], None],
) -> APIRouter:
    """Return the routes; what this server has counted and not yet noted is noted first."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get(PATH)
    def trust(request: Request, asked: Annotated[Ranged, Query()]) -> Response:
        """Show how far the figures can be trusted."""
        note_down()
        return _trust(ledger, visits.place(request), asked, asked.span(now()))

    @router.get(EVENTS_PATH)
    def events(request: Request, asked: Annotated[EventsParameters, Query()]) -> Response:
        """List events that are in doubt."""
        return _events(ledger, visits.place(request), asked, asked.span(now()))

    return router


def _trust(ledger: CentralLedger, place: Place, asked: Ranged, span: Span) -> Response:
    hidden = hidden_pairs(place)
    kept = [*hidden, *asked.time_pairs]
    total = total_of(ledger, place.tenant, within(span))
    came = ledger.receipts.sums(place.tenant, unix_ns(span.since), unix_ns(span.until))
    rejected = {
        what.removeprefix(REJECTED): number
        for what, number in sorted(came.items())
        if what.startswith(REJECTED)
    }
    return show(
        "trust", visitor=place.visitor, tenant=place.tenant, here="trust", hidden=hidden,
        span=span, ranges=RANGES, asked=asked, total=total, trust=trust_of(total),
        lines=[_line(total, doubt, kept) for doubt in TITLES],
        duplicates=came.get(DUPLICATE, 0), rejected=rejected,
    )  # fmt: skip


def _line(total: UsageSums, doubt: Doubt, kept: list[tuple[str, str]]) -> DoubtLine:
    figures: Mapping[Doubt, tuple[int, int | None]] = {
        "unpriced": (total.unpriced, None),
        "unknown": (total.unknown, None),
        "estimated": (total.estimated, total.estimated_nanousd),
        "late": (total.late, total.late_nanousd),
        "suspected_duplicate": (total.suspected_duplicates, total.suspected_nanousd),
        "taken_back": (total.taken_back, total.taken_back_nanousd),
    }
    calls, nanousd = figures[doubt]
    return DoubtLine(
        title=TITLES[doubt], words=WORDS[doubt], calls=calls, nanousd=nanousd,
        share=share(min(calls, total.calls), total.calls),
        link=address(EVENTS_PATH, [*kept, ("of", doubt)]),
    )  # fmt: skip


def _events(ledger: CentralLedger, place: Place, asked: EventsParameters, span: Span) -> Response:
    hidden = hidden_pairs(place)
    kept = [*hidden, *asked.time_pairs]
    query = EventQuery(
        since_unix_ns=unix_ns(span.since), until_unix_ns=unix_ns(span.until), doubt=asked.of,
        is_only_counted=asked.of != "taken_back", is_newest_first=True,
        after=read_place(asked.cursor), most=_LISTED + 1,
    )  # fmt: skip
    found = ledger.reader.events(place.tenant, query)
    shown = found[:_LISTED]
    here = [*kept, ("of", asked.of)]
    following = write_place(shown[-1].place) if len(found) > _LISTED else None
    return show(
        "events", visitor=place.visitor, tenant=place.tenant, here="trust", hidden=hidden,
        span=span, ranges=RANGES, asked=asked, title=TITLES[asked.of], words=WORDS[asked.of],
        lines=[line for one in shown if (line := event_line(one, asked.of)) is not None],
        back=address(PATH, kept), kept=[("of", asked.of)],
        start=address(EVENTS_PATH, here) if asked.cursor else None,
        later=address(EVENTS_PATH, [*here, ("cursor", following)]) if following else None,
    )  # fmt: skip


def event_line(stored: StoredEvent, doubt: Doubt) -> EventLine | None:
    """Return an event as it is shown; None for what is no call."""
    fact = stored.fact
    if isinstance(fact, Adjustment | DecisionEvent):
        return None
    event = fact if isinstance(fact, UsageEvent) else fact.event
    call, cost = event.call, event.cost
    return EventLine(
        at_unix_ns=call.started_at_unix_ns,
        call=call.id,
        customer=call.attribution.customer,
        model=call.request.model,
        service=call.attribution.service,
        nanousd=cost.amount_nanousd,
        status=cost.status,
        why=_taken_back(fact) if isinstance(fact, Reversal) else _why(event, stored, doubt),
    )


def _why(event: UsageEvent, stored: StoredEvent, doubt: Doubt) -> str:
    cost = event.cost
    match doubt:
        case "unpriced":
            units = ", ".join(unit.replace("_", " ") for unit in cost.unpriced_units)
            return f"no price for {units}" if units else "no price for this model"
        case "late":
            ended = event.call.started_at_unix_ns + event.outcome.duration_ns
            return f"came {views.span((stored.received_unix_ns - ended) // 10**9)} after its end"
        case "suspected_duplicate":
            answer = event.outcome.response.id
            return f"answer {answer} is another event's too" if answer else "told like another"
        case "unknown":
            return f"ended as {event.outcome.status}, without its usage"
        case "estimated":
            return f"ended as {event.outcome.status}; usage is estimated"
        case "taken_back":
            return ""


def _taken_back(reversal: Reversal) -> str:
    reason = _REASONS.get(reversal.reason, reversal.reason.replace("_", " "))
    return f"{reason}: {reversal.by}" if reversal.by else reason
