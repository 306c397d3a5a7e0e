"""Fill an ingest server with a month of made-up calls, to see its page with something on it.

Run as `python examples/page/fill.py --endpoint http://127.0.0.1:4790 --key tsp_…`, with a key for
`ingest`. Everything goes through `POST /v1/events`, as a host's events do. The same seed makes the
same calls. They are sent long after they "began", so most of them are marked `late`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import msgspec
import requests

from tollspan.pricing import PriceBook
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    Attribution,
    Call,
    Cost,
    DecisionEvent,
    DecisionNote,
    Event,
    EventVerdicts,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
    UsageStatus,
    WarningNote,
    encode_batch,
    encode_cloud_event,
    new_call_id,
)

DAY_NS = 86_400 * 10**9
USD = 10**9
MINUTE_DAYS = 1 / 1_440
BATCH = 500
RULES = b"""\
version: 1
budgets:
  - {id: org-month, limit: 40 USD, window: month, warn_at: [0.5, 0.8]}
  - {id: customer-month, per: [customer], limit: 5 USD, limits: {acme: 20 USD, globex: 7.2 USD},
     window: month}
  - {id: searches, where: {tool: web_search}, limit: 100 web_searches, window: day}
"""
MODELS = (
    ("openai", "gpt-4o", 5), ("openai", "gpt-4o-mini", 30), ("anthropic", "claude-sonnet-4-5", 10),
    ("anthropic", "claude-haiku-4-5", 20), ("openai", "our-own-finetune", 1),
)  # fmt: skip
CUSTOMERS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", None)
FEATURES = ("support-chat", "search", "summaries", "triage")
AGENTS = ("answerer", "researcher", None)


def events(count: int, days: float, end_ns: int, seed: int) -> Iterator[Event]:
    """Yield calls, refusals and warnings in the order of their times, more of them later on."""
    dice = random.Random(seed)
    book = PriceBook.load()
    span = int(days * DAY_NS)
    for share in sorted(dice.random() ** 0.7 for _ in range(count)):
        yield _event(dice, book, end_ns - span + int(span * share))


def _event(dice: random.Random, book: PriceBook, at: int) -> Event:
    provider, model, _ = dice.choices(MODELS, [weight for *_, weight in MODELS])[0]
    customer = dice.choices(CUSTOMERS, [20, 12, 8, 5, 3, 2, 1, 2])[0]
    call = Call(
        id=new_call_id(at), started_at_unix_ns=at,
        request=Request(provider=provider, operation="chat", model=model),
        attribution=Attribution(
            customer=customer, feature=dice.choices(FEATURES, [8, 5, 3, 1])[0],
            agent=dice.choice(AGENTS), session=f"session-{dice.randrange(400)}",
            service=dice.choices(("shop-web", "shop-worker", "batch-nightly"), [6, 3, 1])[0],
            environment="production",
        ),
    )  # fmt: skip
    return _decision(dice, call) or UsageEvent(
        call=call, decision=DecisionNote(), outcome=_outcome(dice, at),
        usage=(usage := _usage(dice, provider)),
        cost=Cost(status="unknown") if usage.status == "unknown" else book.rate(
            call.request, Response(), usage, at
        ),
    )  # fmt: skip


def _decision(dice: random.Random, call: Call) -> DecisionEvent | None:
    """Refuse some calls of some customers, and warn of a budget now and then."""
    customer = call.attribution.customer
    scope = (("customer", customer),)
    bound = dice.randrange(10**6, 10**8)
    if customer == "globex" and dice.random() < 0.08:
        note = DecisionNote(action="deny", rule_ids=("customer-month",), bound_nanousd=bound)
        spent = 49 * USD - dice.randrange(bound)
        return DecisionEvent(
            call=call, decision=note, error_type="tollspan.budget_exceeded", scope=scope,
            limit=49 * USD, spent=spent, held=0, asked=bound,
        )  # fmt: skip
    if customer == "hooli" and dice.random() < 0.12:
        note = DecisionNote(action="deny", rule_ids=("velocity",), bound_nanousd=bound)
        return DecisionEvent(
            call=call, decision=note, error_type="tollspan.velocity_exceeded", scope=scope,
            limit=USD, spent=9 * USD // 10, held=USD // 20, asked=bound,
        )  # fmt: skip
    if customer == "wayne" and call.request.model == "gpt-4o":
        note = DecisionNote(action="deny", rule_ids=("models",))
        return DecisionEvent(call=call, decision=note, error_type="tollspan.policy_violation")
    if customer in ("acme", "initech") and dice.random() < 0.004:
        note = DecisionNote(action="warn", rule_ids=("customer-month",))
        share = dice.choice(("0.5", "0.8"))
        return DecisionEvent(
            call=call, decision=note, number=1, scope=scope, limit=500 * USD,
            spent=int(500 * USD * float(share)), held=0,
            warning=WarningNote(reason="share", share=share, period="2026-11"),
        )  # fmt: skip
    return None


def _usage(dice: random.Random, provider: str) -> Usage:
    status: UsageStatus = "reported"
    if dice.random() < 0.02:
        status = "estimated"
    elif dice.random() < 0.003:
        return Usage(status="unknown")
    cached = dice.choice((0, 0, 2_000, 9_000))
    is_written = provider == "anthropic" and not cached and dice.random() < 0.3
    return Usage(
        status=status, input_uncached=dice.randrange(200, 6_000), cache_read=cached,
        cache_write_5m=4_000 if is_written else 0, output=dice.randrange(30, 1_500),
    )  # fmt: skip


def _outcome(dice: random.Random, at: int) -> Outcome:
    """Return how a call ended; some answers have an id that another had too."""
    is_odd = dice.random() < 0.004
    return Outcome(
        status="ok", duration_ns=dice.randrange(2 * 10**8, 6 * 10**9),
        response=Response(id=f"answer-{at // (4 * DAY_NS)}" if is_odd else None),
    )  # fmt: skip


def send(endpoint: str, key: str, batch: list[Event]) -> int:
    """Send a batch; return how many the server took.

    Raises:
        requests.HTTPError: It took none.
    """
    body = encode_batch([encode_cloud_event(one) for one in batch])
    answer = _post(endpoint, key, "/v1/events", BATCH_MEDIA_TYPE, body)
    verdicts = msgspec.json.decode(answer, type=EventVerdicts)
    return sum(one.status == "accepted" for one in verdicts.results)


def _post(endpoint: str, key: str, path: str, media_type: str, body: bytes) -> bytes:
    return _ask("POST", endpoint, key, path, media_type, body)


def _ask(method: str, endpoint: str, key: str, path: str, media_type: str, body: bytes) -> bytes:
    answer = requests.request(
        method,
        endpoint + path,
        data=body,
        headers={"Authorization": f"Bearer {key}", "Content-Type": media_type},
        timeout=60,
    )
    answer.raise_for_status()
    return answer.content


def fill(
    endpoint: str,
    key: str,
    *,
    count: int,
    days: float,
    seed: int = 7,
    end_ns: int | None = None,
    at_once: int = BATCH,
    before: Callable[[Event], None] = lambda _: None,
) -> int:
    """Send so many events of so many days; return how many the server took.

    `before` is told the last event of each batch of `at_once` before that is sent.
    """
    taken = 0
    batch: list[Event] = []
    for event in events(count, days, end_ns or time.time_ns(), seed):
        batch.append(event)
        if len(batch) == at_once:
            before(event)
            taken += send(endpoint, key, batch)
            batch = []
    return taken + (send(endpoint, key, batch) if batch else 0)


def fill_oddities(endpoint: str, key: str, *, end_ns: int | None = None) -> None:
    """Send what a server does not simply take: copies, what is too old, calls told twice.

    Three calls are told by spans first and then, better, by the program's own events: what the
    spans told is taken back.
    """
    now = end_ns or time.time_ns()
    book = PriceBook.load()
    dice = random.Random(now)
    for number in range(3):
        at = now - (number + 5) * 10**9
        trace, span = f"{dice.getrandbits(128):032x}", f"{dice.getrandbits(64):016x}"
        _post(endpoint, key, "/v1/traces", "application/json", _span(trace, span, at))
        own = _event(dice, book, at)
        send(endpoint, key, [msgspec.structs.replace(own, traceparent=f"00-{trace}-{span}-01")])
    events_again = list(events(5, MINUTE_DAYS, now, 11))
    for _ in range(2):
        send(endpoint, key, events_again)
    send(endpoint, key, list(events(2, 1, now - 60 * DAY_NS, 12)))


def fill_budgets(endpoint: str, key: str) -> None:
    """Put rules of budgets, and tell the authority what was spent of them this month.

    Programs do that as they go; these calls were made up, so nobody held money for them. The key
    has to be for `ingest`, `read` and `admin`.
    """
    _ask("PUT", endpoint, key, "/v1/rules", "application/yaml", RULES)
    now = time.time_ns()
    month = f"{datetime.now(UTC):%Y-%m}"
    asked_for = f"/v1/usage?group_by=customer&from={month}-01T00:00:00Z"
    rows = msgspec.json.decode(_ask("GET", endpoint, key, asked_for, "", b""))["rows"]
    spent = {row["customer"]: int(row["cost_nanousd"]) for row in rows}
    charges = [("org-month", "", month, sum(spent.values()))]
    charges += [
        ("customer-month", msgspec.json.encode({"customer": customer}).decode(), month, posted)
        for customer, posted in spent.items()
    ]
    charges.append(("searches", "", f"{datetime.now(UTC):%Y-%m-%d}", 64))
    asked = {
        "settlements": [
            {
                "call_id": new_call_id(now),
                "charges": [
                    {"budget_id": budget, "scope": scope, "period": period, "posted": str(posted),
                     **({"unit": "web_searches"} if budget == "searches" else {}),
                     **({"unresolved": "150000000"} if "globex" in scope else {})}
                    for budget, scope, period, posted in charges
                ],
            }
        ]
    }  # fmt: skip
    _post(endpoint, key, "/v1/leases/settle", "application/json", msgspec.json.encode(asked))
    wants = [
        {"account": {"budget_id": budget, "scope": scope, "period": month, "limit": str(limit)},
         "need": str(wish), "wish": str(wish)}
        for budget, scope, limit, wish in (
            ("org-month", "", 40 * USD, 900_000_000),
            ("customer-month", '{"customer":"acme"}', 20 * USD, 600_000_000),
        )
    ]  # fmt: skip
    lease = {"lease": {"holder": "shop-web-1"}, "wants": wants}
    _post(endpoint, key, "/v1/leases/grant", "application/json", msgspec.json.encode(lease))


def _span(trace: str, span: str, at: int) -> bytes:
    """Write a span of a call to a model, as another instrumentor would."""
    said = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 3_000,
        "gen_ai.usage.output_tokens": 400,
    }  # fmt: skip
    attributes = [
        {"key": name, "value": {"intValue": value} if isinstance(value, int)
         else {"stringValue": value}}
        for name, value in said.items()
    ]  # fmt: skip
    one = {
        "traceId": trace, "spanId": span, "name": "chat gpt-4o-mini", "kind": 3,
        "startTimeUnixNano": str(at), "endTimeUnixNano": str(at + 10**9), "attributes": attributes,
    }  # fmt: skip
    scope = {"name": "opentelemetry.instrumentation.genai.openai", "version": "1.3b0"}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "shop-web"}}]}
    body = {"resourceSpans": [{"resource": resource,
                               "scopeSpans": [{"scope": scope, "spans": [one]}]}]}  # fmt: skip
    return msgspec.json.encode(body)


def main() -> None:
    """Fill a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:4790")
    parser.add_argument("--key", required=True, help="of the server, for ingest")
    parser.add_argument("--events", type=int, default=4_000)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--budgets",
        action="store_true",
        help="make some too; the key is for read and admin as well",
    )
    asked = parser.parse_args()
    taken = fill(asked.endpoint, asked.key, count=asked.events, days=asked.days, seed=asked.seed)
    fill_oddities(asked.endpoint, asked.key)
    if asked.budgets:
        fill_budgets(asked.endpoint, asked.key)
    print(f"{taken} events taken; look at {asked.endpoint}/")


if __name__ == "__main__":
    main()
