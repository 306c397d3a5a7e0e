"""What everybody's books say of a fleet's calls, side by side, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass

from tests import harness
from tests.collector.fleet import PROGRAMS
from tests.collector.load import Load
from tests.e2e.ingest import total


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """What the books have of one program.

    Attributes:
        calls, refused: As the ingest server has them.
        nanousd: What its calls cost.
    """

    calls: int
    refused: int
    nanousd: int


@dataclass(frozen=True, kw_only=True)
class Books:
    """What is known of all calls that were made.

    Attributes:
        lines: By program.
        answered, refused: What the programs' clients have seen; `failed`, with what was said.
        limit, posted, held, unresolved: The budget; `most_counted`, the most at any time.
        requests, billed: How many the providers have had, and what they bill.
        served: Calls and nano-USD of the ingest server.
        on_hosts: The same of the hosts' ledgers together, and `denials`.
        seen: Spans of calls in Jaeger, those that were made, and `seen_refused`, all red.
        counted: What Prometheus says by `QUERIES`.
    """

    lines: dict[str, Line]
    answered: int
    refused: int
    failed: tuple[str, ...]
    limit: int
    posted: int
    held: int
    unresolved: int
    most_counted: int
    requests: int
    billed: int
    served: tuple[int, int]
    on_hosts: tuple[int, int]
    denials: int
    seen: int
    seen_refused: int
    counted: dict[str, float]

    def disagreements(self) -> list[str]:
        """Say in words what does not agree; nothing where all does."""
        bill = (self.requests, self.billed)
        checks = {
            f"calls failed: {self.failed[:3]}": not self.failed,
            "providers and server": bill == self.served,
            "providers and hosts": bill == self.on_hosts,
            "providers and programs' clients": self.requests == self.answered,
            "providers and the budget": self.billed == self.posted,
            "providers and Jaeger": self.requests == self.seen,
            "refusals on hosts": self.refused == self.denials,
            "refusals at the server": self.refused
            == sum(one.refused for one in self.lines.values()),
            "refusals in Jaeger": self.refused == self.seen_refused,
            "a program was refused nothing": all(one.refused for one in self.lines.values()),
            "a program made no call": all(one.calls for one in self.lines.values()),
            "the budget was overspent": self.most_counted <= self.limit,
            "the budget is unsettled": self.unresolved == 0,
            "costs in Prometheus": _is_near(self.counted[COST], self.billed),
            "refusals in Prometheus": self.counted[REFUSED] == self.refused,
        }
        return [text for text, is_so in checks.items() if not is_so]


COST = "sum(tollspan_cost_USD_total)"
REFUSED = 'sum(tollspan_decisions_total{tollspan_decision="deny"})'
QUERIES = (
    COST,
    REFUSED,
    "sum(gen_ai_client_token_usage_sum)",
    'sum(tollspan_ingest_events_total{result="accepted"})',
    'sum(otelcol_exporter_sent_spans{exporter="otlphttp/tollspan"})',
)


def _is_near(usd: float, nanousd: int) -> bool:
    """Compare a sum of floats, which figures for people are, with money."""
    return round(usd * 10**9) == nanousd


def books_of(load: Load) -> Books:
    """Look into everybody's books as they are now."""
    fleet = load.fleet
    budget = load.look()
    homes = [fleet.programs[name].home for name in PROGRAMS]
    events = [event for home in homes for event in harness.usage_events(home)]
    tallies = load.tallies.values()
    spans = [span for name in PROGRAMS for span in fleet.jaeger.found(name)]
    calls = [span for span in spans if "tollspan.call.id" in span.tags]
    denied = [span for span in calls if span.tags["tollspan.decision"] == "deny"]
    return Books(
        lines={name: _line(load, name) for name in PROGRAMS},
        answered=sum(one.answered for one in tallies),
        refused=sum(one.refused for one in tallies),
        failed=tuple(text for one in tallies for text in one.failed),
        limit=int(budget["limit"]),
        posted=int(budget["posted"]),
        held=int(budget["held"]),
        unresolved=int(budget["unresolved"]),
        most_counted=load.most_counted,
        requests=fleet.openai.hits + fleet.anthropic.hits,
        billed=fleet.billed_nanousd,
        served=total(fleet.server, fleet.key),
        on_hosts=(len(events), sum(event.cost.amount_nanousd or 0 for event in events)),
        denials=sum(len(harness.denials(home)) for home in homes),
        seen=sum("error" not in span.tags for span in calls),
        seen_refused=sum(span.tags.get("error") is True for span in denied),
        counted={query: fleet.prometheus.value(query) or 0.0 for query in QUERIES},
    )


def _line(load: Load, name: str) -> Line:
    rows = load.fleet.server.ask("/v1/usage?group_by=service", load.fleet.key)["rows"]
    assert isinstance(rows, list)
    for row in rows:
        if row["service"] == name:
            return Line(calls=row["calls"], refused=row["denied"], nanousd=int(row["cost_nanousd"]))
    return Line(calls=0, refused=0, nanousd=0)
