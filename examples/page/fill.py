"""Fill an ingest server with a month of made-up calls, to see its page with something on it.

Run as `python examples/page/fill.py --endpoint http://127.0.0.1:4790 --key tsp_…`, with a key for
`ingest`. Everything goes through `POST /v1/events`, as a host's events do. The same seed makes the
same calls. They are sent long after they "began", so most of them are marked `late`.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator

import msgspec
import requests

from tollspan.pricing import PriceBook
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    Attribution,
    Call,
    DecisionEvent,
    DecisionNote,
    Event,
    EventVerdicts,
    Outcome,
    Request,
    Response,
    Usage,
    UsageEvent,
    encode_batch,
    encode_cloud_event,
    new_call_id,
)

DAY_NS = 86_400 * 10**9
BATCH = 500
MODELS = (
    ("openai", "gpt-4o", 5), ("openai", "gpt-4o-mini", 30), ("anthropic", "claude-sonnet-4-5", 10),
    ("anthropic", "claude-haiku-4-5", 20), ("openai", "our-own-finetune", 1),
)  # fmt: skip
CUSTOMERS = ("acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", None)
FEATURES = ("support-chat", "search", "summaries", "triage")
AGENTS = ("answerer", "researcher", None)


def events(count: int, days: float, end_ns: int, seed: int) -> Iterator[Event]:
    """Yield calls and refusals in the order of their times, more of them on later days."""
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
            service=dice.choice(("shop-web", "shop-worker")), environment="production",
        ),
    )  # fmt: skip
    if customer == "globex" and dice.random() < 0.08:
        note = DecisionNote(
            action="deny", rule_ids=("customer-month",), bound_nanousd=dice.randrange(10**6, 10**8)
        )
        return DecisionEvent(call=call, decision=note, error_type="tollspan.budget_exceeded")
    fresh, cached = dice.randrange(200, 6_000), dice.choice((0, 0, 2_000, 9_000))
    usage = Usage(
        status="estimated" if dice.random() < 0.02 else "reported",
        input_uncached=fresh, cache_read=cached, output=dice.randrange(30, 1_500),
    )  # fmt: skip
    return UsageEvent(
        call=call, decision=DecisionNote(), outcome=Outcome(status="ok"), usage=usage,
        cost=book.rate(call.request, Response(), usage, at),
    )  # fmt: skip


def send(endpoint: str, key: str, batch: list[Event]) -> int:
    """Send a batch; return how many the server took.

    Raises:
        requests.HTTPError: It took none.
    """
    answer = requests.post(
        f"{endpoint}/v1/events",
        data=encode_batch([encode_cloud_event(one) for one in batch]),
        headers={"Authorization": f"Bearer {key}", "Content-Type": BATCH_MEDIA_TYPE},
        timeout=60,
    )
    answer.raise_for_status()
    verdicts = msgspec.json.decode(answer.content, type=EventVerdicts)
    return sum(one.status == "accepted" for one in verdicts.results)


def fill(
    endpoint: str, key: str, *, count: int, days: float, seed: int = 7, end_ns: int | None = None
) -> int:
    """Send so many events of so many days; return how many the server took."""
    taken = 0
    batch: list[Event] = []
    for event in events(count, days, end_ns or time.time_ns(), seed):
        batch.append(event)
        if len(batch) == BATCH:
            taken += send(endpoint, key, batch)
            batch = []
    return taken + (send(endpoint, key, batch) if batch else 0)


def main() -> None:
    """Fill a server."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoint", default="http://127.0.0.1:4790")
    parser.add_argument("--key", required=True, help="of the server, for ingest")
    parser.add_argument("--events", type=int, default=5_000)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    taken = fill(asked.endpoint, asked.key, count=asked.events, days=asked.days, seed=asked.seed)
    print(f"{taken} events taken; look at {asked.endpoint}/")


if __name__ == "__main__":
    main()
