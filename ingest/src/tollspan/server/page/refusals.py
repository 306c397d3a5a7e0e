"""`/refusals`: calls that were refused, what they would have cost, by which rules, and warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import islice
from typing import Annotated, Final, Literal

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from tollspan.ledger.central import CentralLedger, EventQuery, TooMuchError, UsageQuery, UsageSums
from tollspan.server.problems import ProblemError
from tollspan.server.questions import Text, wanted
from tollspan.usage import DecisionEvent

from . import views
from .charts import Chart, chart
from .links import address, filter_pair, filter_pairs
from .presenting import PageRoute, show
from .ranged import Ranged, hidden_pairs, read_place, total_of, unix_ns, within, write_place
from .ranges import RANGES, Span
from .visiting import Place, Visits

PATH: Final = "/refusals"
_LISTED: Final = 50
_AT_ONCE: Final = 1_000
MOST_READ: Final = 20_000
"""Refusals that are read one by one for what rules refused: the newest."""
_MOST_MODELS: Final = 1_000
_PANEL_ROWS: Final = 6
_DENIED, _WARNED = "denied", "warned"


class RefusalParameters(Ranged):
    """What the address of the view says."""

    customer: Text = None
    model: Text = None
    rule: str = Field("", max_length=256)
    of: Literal["refusals", "warnings"] = "refusals"

    def where(self) -> dict[str, str | None]:
        """Return which values calls must have."""
        return wanted(self.model_dump(include={"customer", "model"}, exclude_none=True))


class RuleLine(msgspec.Struct, kw_only=True):
    """What one rule refused.

    Attributes:
        rule: Its id.
        kind: Which kind of refusal.
        refused: How many calls.
        bounded, most_nanousd: How many of them have an upper bound, and the sum of those.
        last_unix_ns: When the newest of them was.
        link: To these alone.
    """

    rule: str
    kind: str
    refused: int = 0
    bounded: int = 0
    most_nanousd: int = 0
    last_unix_ns: int = 0
    link: str = ""


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a value's refusals."""

    value: str | None
    sums: UsageSums
    link: str


class Panel(msgspec.Struct, frozen=True, kw_only=True):
    """The values of a dimension that were refused most often."""

    dimension: str
    rows: tuple[Refused, ...]


class Typical(msgspec.Struct, frozen=True, kw_only=True):
    """What refused calls would have cost at the average of calls to the same models.

    Attributes:
        nanousd: The sum.
        refused: Of how many refused calls: those to models that were called too.
    """

    nanousd: int
    refused: int


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One refusal or warning.

    Attributes:
        at_unix_ns: When the call was asked for.
        call: Its id.
        rules, kind: What spoke.
        customer, model: Of the call.
        most_nanousd: What it would have cost at most; None where that is not known.
        account: How the account stood, in words.
    """

    at_unix_ns: int
    call: str
    rules: tuple[str, ...]
    kind: str
    customer: str | None
    model: str
    most_nanousd: int | None
    account: str


def refusal_routes(ledger: CentralLedger, visits: Visits, now: Callable[[], datetime]) -> APIRouter:
    """Return the routes."""
    router = APIRouter(include_in_schema=False, route_class=PageRoute)

    @router.get(PATH)
    def refusals(request: Request, asked: Annotated[RefusalParameters, Query()]) -> Response:
        """Show what was refused."""
        return _shown(ledger, visits.place(request), asked, asked.span(now()))

    return router


def _shown(ledger: CentralLedger, place: Place, asked: RefusalParameters, span: Span) -> Response:
    where = asked.where()
    query = within(span, where)
    hidden = hidden_pairs(place)
    kept = [*hidden, *asked.time_pairs]
    here = [*kept, *filter_pairs(where)]
    try:
        total = total_of(ledger, place.tenant, query)
        panels = [
            _panel(ledger, place.tenant, name, query, here)
            for name in ("customer", "model") if name not in where
        ]  # fmt: skip
        typical = typical_of(ledger, place.tenant, query)
        bars = _picture(ledger, place.tenant, span, query)
    except TooMuchError as error:
        raise ProblemError(400, f"{error}".capitalize() + ".", type="too_much") from None
    events = _query(span, where, asked)
    newest = islice(_events(ledger, place.tenant, events), MOST_READ)
    rules = rules_of(newest, PATH, here) if asked.of == "refusals" else []
    lines, following = _lines(ledger, place.tenant, events, asked)
    listed = [*here, ("rule", asked.rule), ("of", asked.of)]
    chips = [
        (name, value or "unattributed",
         address(PATH, [*kept, *filter_pairs({n: v for n, v in where.items() if n != name}),
                        ("rule", asked.rule)]))
        for name, value in where.items()
    ]  # fmt: skip
    if asked.rule:
        chips.append(("rule", asked.rule, address(PATH, [*here, ("of", asked.of)])))
    return show(
        "refusals", visitor=place.visitor, tenant=place.tenant, here="refusals", hidden=hidden,
        span=span, ranges=RANGES, asked=asked, total=total, panels=panels, typical=typical,
        chart=bars, rules=rules, lines=lines, chips=chips, most_read=MOST_READ,
        read=sum(one.refused for one in rules),
        start=address(PATH, listed) if asked.cursor else None,
        later=address(PATH, [*listed, ("cursor", following)]) if following else None,
        tabs=[(name, address(PATH, [*here, ("of", name)])) for name in ("refusals", "warnings")],
        kept=[*filter_pairs(where), ("rule", asked.rule), ("of", asked.of)],
    )  # fmt: skip


def typical_of(ledger: CentralLedger, tenant: str, query: UsageQuery) -> Typical:
    """Return what refused calls would have cost at the average of calls to the same models.

    Raises:
        TooMuchError: Too many events would have to be read.
    """
    by_model = msgspec.structs.replace(
        query, group_by=("model",), order="denied", most=_MOST_MODELS
    )
    nanousd = refused = 0
    for row in ledger.usage.usage(tenant, by_model).rows:
        sums = row.sums
        priced = sums.calls - sums.unpriced - sums.unknown
        if sums.denied and priced > 0:
            nanousd += sums.denied * sums.cost_nanousd // priced
            refused += sums.denied
    return Typical(nanousd=nanousd, refused=refused)


def rules_of(
    events: Iterable[DecisionEvent], path: str, kept: list[tuple[str, str]]
) -> list[RuleLine]:
    """Sum refusals by rule, those first that refused most often.

    A call that several rules refused counts for the first of them, which is the one that was told.
    """
    found: dict[str, RuleLine] = {}
    for event in events:
        rule = next(iter(event.decision.rule_ids), "")
        line = found.setdefault(rule, RuleLine(rule=rule, kind=kind_of(event)))
        line.refused += 1
        line.last_unix_ns = max(line.last_unix_ns, event.call.started_at_unix_ns)
        if event.decision.bound_nanousd is not None:
            line.bounded += 1
            line.most_nanousd += event.decision.bound_nanousd
    for line in found.values():
        line.link = address(path, [*kept, ("rule", line.rule)])
    return sorted(found.values(), key=lambda line: (-line.refused, line.rule))


def kind_of(event: DecisionEvent) -> str:
    """Name the kind of a decision as people say it: `budget exceeded`."""
    if event.warning is not None:
        if event.warning.share is None:
            return "let through over the limit"
        return f"{_percent(event.warning.share)} of the limit used"
    return event.error_type.removeprefix("tollspan.").replace("_", " ")


def line_of(event: DecisionEvent) -> Line:
    """Return a refusal or a warning as it is shown."""
    return Line(
        at_unix_ns=event.call.started_at_unix_ns,
        call=event.call.id,
        rules=event.decision.rule_ids,
        kind=kind_of(event),
        customer=event.call.attribution.customer,
        model=event.call.request.model,
        most_nanousd=event.decision.bound_nanousd,
        account=_account(event),
    )


def _account(event: DecisionEvent) -> str:
    """Say how the account stood: `acme: $48.90 spent and $0.50 held of $49.00`."""
    if event.limit is None:
        return ""
    whose = ", ".join(value or "unattributed" for _, value in event.scope)
    unit = event.unit
    held = f" and {views.amount(event.held, unit)} held" if event.held else ""
    limit = views.amount(event.limit, unit)
    text = f"{views.amount(event.spent or 0, unit)} spent{held} of {limit}"
    return f"{whose}: {text}" if whose else text


def _percent(share: str) -> str:
    try:
        return f"{float(share) * 100:g}%"
    except ValueError:
        return share


def _panel(
    ledger: CentralLedger,
    tenant: str,
    dimension: str,
    query: UsageQuery,
    kept: list[tuple[str, str]],
) -> Panel:
    asked = msgspec.structs.replace(query, group_by=(dimension,), order="denied", most=_PANEL_ROWS)
    rows = tuple(
        Refused(
            value=row.values[0],
            sums=row.sums,
            link=address(PATH, [*kept, filter_pair(dimension, row.values[0])]),
        )
        for row in ledger.usage.usage(tenant, asked).rows
        if row.sums.denied
    )
    return Panel(dimension=dimension, rows=rows)


def _picture(ledger: CentralLedger, tenant: str, span: Span, query: UsageQuery) -> Chart | None:
    asked = msgspec.structs.replace(query, bucket=span.bucket)
    rows = ledger.usage.usage(tenant, asked).rows
    counts = {row.start_unix_ns or 0: row.sums.denied for row in rows if row.sums.denied}
    return chart(span, span.bucket, counts, unit="count")


def _query(span: Span, where: Mapping[str, str | None], asked: RefusalParameters) -> EventQuery:
    outcome = _DENIED if asked.of == "refusals" else _WARNED
    return EventQuery(
        since_unix_ns=unix_ns(span.since), until_unix_ns=unix_ns(span.until),
        values={**where, "kind": "decision", "outcome": outcome},
        is_newest_first=True, most=_AT_ONCE,
    )  # fmt: skip


def _events(ledger: CentralLedger, tenant: str, query: EventQuery) -> Iterable[DecisionEvent]:
    for one in ledger.reader.all(tenant, query):
        if isinstance(one.fact, DecisionEvent):
            yield one.fact


def _lines(
    ledger: CentralLedger, tenant: str, query: EventQuery, asked: RefusalParameters
) -> tuple[list[Line], str | None]:
    """Return a page of refusals or warnings, and the cursor of the next one.

    A rule's own are looked for among so many that a page is never slow: it may have few.
    """
    most = _AT_ONCE if asked.rule else _LISTED + 1
    query = msgspec.structs.replace(query, after=read_place(asked.cursor), most=most)
    found: list[Line] = []
    place = None
    for read, one in enumerate(ledger.reader.all(tenant, query), 1):
        if len(found) == _LISTED or read > MOST_READ:
            return found, None if place is None else write_place(place)
        place = one.place
        if isinstance(one.fact, DecisionEvent) and (
            not asked.rule or asked.rule in one.fact.decision.rule_ids
        ):
            found.append(line_of(one.fact))
    return found, None
