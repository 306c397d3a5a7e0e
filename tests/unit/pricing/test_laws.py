"""What holds for every model, tier and usage: property tests over the shipped book."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import tollspan.pricing
from tollspan.pricing import PriceBook, parse_overrides
from tollspan.usage import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    TOKEN_BUCKETS,
    Bound,
    Cost,
    Iteration,
    Request,
    Response,
    Usage,
    sum_of,
)

BODY = json.loads((Path(tollspan.pricing.__file__).parent / "prices.json").read_bytes())["body"]
OPENAI = BODY["providers"]["openai"]
BOOK = PriceBook.load()
NOW = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
DAYS = 86_400 * 1_000_000_000

names = st.sampled_from(sorted(OPENAI["names"]))
tiers = st.sampled_from([None, "auto", "default", "flex", "priority", "fast", "batch", "ultrafast"])
times = st.integers(0, 900).map(lambda days: NOW - days * DAYS)
counts = st.one_of(st.integers(0, 50), st.integers(0, 400_000))
ceilings = st.booleans()


def split(total: int, parts: list[int], buckets: tuple[str, ...]) -> dict[str, int]:
    """Spread `total` tokens over buckets, by cutting at `parts`."""
    cuts = sorted(part % (total + 1) for part in parts[: len(buckets) - 1])
    edges = [0, *cuts, total]
    return {name: edges[i + 1] - edges[i] for i, name in enumerate(buckets)}


def used(*sides: dict[str, int]) -> Usage:
    """Return a usage with these buckets."""
    return msgspec.convert({name: n for side in sides for name, n in side.items()}, Usage)


cutting = st.lists(st.integers(0, 10**6), min_size=9, max_size=9)
# What the provider may say for what was asked.
RUNS_AS = {
    None: [None, "default", "priority", "fast"],
    "auto": [None, "default", "priority", "fast"],
    "default": [None, "default"],
    "flex": [None, "flex", "default"],
    "priority": [None, "priority", "default"],
    "fast": [None, "fast", "default"],
    "batch": [None, "batch"],
    "ultrafast": [None, "ultrafast", "default"],
}


UNITS = ("code_sessions", "storage_searches", "web_searches")
OWN = """
version: 1
models:
  openai/gpt-5.5:
    - usd_per_million: {input: 7.00, cache_write: 9, output: 31.00}
      before: 2026-11-01
    - {usd_per_million: {input: 4.00, output: 21.00}, from: 2026-11-01, tier: flex}
    - usd_each: {web_searches: 0.05}
    - {usd_per_million: {input: 6.00, output: 35.00}, region: us}
  openai/gpt-4o*: {usd_per_million: {input: 2.10, output: 9.00}, usd_each: {code_sessions: 1}}
fees: {openai: {storage_searches: 0.5}}
"""
OWN_BOOK = PriceBook.load(None, parse_overrides(OWN))
books = st.sampled_from([BOOK, BOOK, OWN_BOOK])
hosts = st.sampled_from(["", "", "eu.api.openai.com", "us.api.openai.com"])


@settings(max_examples=400, deadline=None)
@given(data=st.data(), asked=tiers, at=times, ceiling=ceilings, book=books, host=hosts)
def test_no_usage_that_fits_the_request_costs_more_than_the_bound(
    data: st.DataObject, asked: str | None, at: int, ceiling: bool, book: PriceBook, host: str
) -> None:
    name = data.draw(st.sampled_from(["gpt-5.5", "gpt-4o"]) if book is OWN_BOOK else names)
    size, limit, choices = data.draw(counts), data.draw(counts), data.draw(st.integers(1, 4))
    predicted, rounds = data.draw(st.sampled_from([0, 100])), data.draw(st.integers(1, 3))
    most = data.draw(st.dictionaries(st.sampled_from(UNITS), st.integers(0, 5), max_size=2))
    request = Request(
        provider="openai",
        operation="chat",
        model=name,
        host=host,
        input_bytes=size,
        max_output_tokens=limit,
        choices=choices,
        prediction_bytes=predicted,
        service_tier=asked,
        quantities=tuple(sorted(most.items())),
        rounds=rounds,
    )
    bound = book.bound(request, at, ceiling=ceiling)
    used_up = [(unit, data.draw(st.integers(0, count))) for unit, count in most.items()]
    said = data.draw(st.sampled_from(RUNS_AS[asked]))
    left = data.draw(st.integers(0, limit * choices + predicted))
    runs: list[Usage] = []
    for _ in range(rounds):
        tokens_in = data.draw(st.integers(0, size + OPENAI["constant_tokens"]))
        tokens_out = data.draw(st.integers(0, left))
        left -= tokens_out
        runs.append(
            used(
                split(tokens_in, data.draw(cutting), INPUT_BUCKETS),
                split(tokens_out, data.draw(cutting), OUTPUT_BUCKETS),
            )
        )
    usage = together(runs)
    if data.draw(st.booleans()):
        usage = msgspec.structs.replace(usage, iterations=())
    usage = msgspec.structs.replace(usage, quantities=tuple(sorted(used_up)))
    cost = book.rate(request, Response(service_tier=said), usage, at, ceiling=ceiling)
    covers(bound, cost)


def together(runs: list[Usage]) -> Usage:
    """Return the usage of a call with these runs of its model."""
    iterations = tuple(
        msgspec.convert({b: getattr(run, b) for b in TOKEN_BUCKETS}, Iteration) for run in runs
    )
    return msgspec.structs.replace(Usage(iterations=iterations), **sum_of(iterations))


def covers(bound: Bound, cost: Cost) -> bool:
    """Assert that a bound holds; return False where there are no two amounts to compare."""
    if bound.amount_nanousd is None or cost.amount_nanousd is None:
        return False
    if cost.matched_by == "ceiling" and not bound.is_assumed:
        return False  # only what has no price was used, or a tier without one ran: never reachable
    if any(reason.startswith("unpriced:") for reason in bound.reasons):
        return False  # the bound says that it leaves something out
    assert cost.amount_nanousd <= bound.amount_nanousd
    return True


@pytest.mark.parametrize("asked", list(RUNS_AS), ids=str)
def test_the_worst_usage_of_every_model_costs_at_most_the_bound(asked: str | None) -> None:
    """All tokens in one bucket of each side, just below, at and above the context tiers."""
    compared = 0
    for name in OPENAI["models"].keys() & OPENAI["names"].keys():
        for size in (0, 271_000, 300_000):
            request = Request(
                provider="openai",
                operation="chat",
                model=name,
                input_bytes=size,
                max_output_tokens=1_000,
                service_tier=asked,
            )
            bound = BOOK.bound(request, NOW)
            for bucket, out in zip(INPUT_BUCKETS, OUTPUT_BUCKETS * 2, strict=True):
                usage = used({bucket: size + OPENAI["constant_tokens"], out: 1_000})
                for said in RUNS_AS[asked]:
                    response = Response(service_tier=said)
                    compared += covers(bound, BOOK.rate(request, response, usage, NOW))
    assert compared >= (50 if asked == "ultrafast" else 500)


@pytest.mark.parametrize("provider", sorted(BODY["providers"]))
def test_the_bound_holds_for_other_providers_too(provider: str) -> None:
    part = BODY["providers"][provider]
    for name in part["names"]:
        for size in (0, 300_000):
            request = Request(
                provider=provider,
                operation="chat",
                model=name,
                input_bytes=size,
                max_output_tokens=1_000,
            )
            bound = BOOK.bound(request, NOW)
            for bucket, out in zip(INPUT_BUCKETS, OUTPUT_BUCKETS * 2, strict=True):
                usage = used({bucket: size + part["constant_tokens"], out: 1_000})
                covers(bound, BOOK.rate(request, Response(), usage, NOW))


@settings(max_examples=200, deadline=None)
@given(name=names, at=times, cuts=cutting, total=counts, bucket=st.sampled_from(TOKEN_BUCKETS))
def test_a_token_more_never_costs_less(
    name: str, at: int, cuts: list[int], total: int, bucket: str
) -> None:
    usage = used(split(total, cuts, ("input_uncached", "cache_read", "output", "reasoning")))
    more = msgspec.structs.replace(usage, **{bucket: getattr(usage, bucket) + 1})
    request = Request(provider="openai", operation="chat", model=name)
    before = BOOK.rate(request, Response(), usage, at)
    after = BOOK.rate(request, Response(), more, at)
    if before.amount_nanousd is not None and after.amount_nanousd is not None:
        assert after.amount_nanousd >= before.amount_nanousd


@settings(max_examples=200, deadline=None)
@given(name=names, at=times, one=cutting, other=cutting, total=st.integers(0, 100_000))
def test_costs_add_up_but_for_the_rounding(
    name: str, at: int, one: list[int], other: list[int], total: int
) -> None:
    """Within one context tier: 200,000 tokens are below the lowest threshold of these models."""
    buckets = ("input_uncached", "cache_read", "cache_write", "output", "reasoning")
    parts = [split(total, one, buckets), split(total, other, buckets)]
    both = {bucket: parts[0][bucket] + parts[1][bucket] for bucket in buckets}
    request = Request(provider="openai", operation="chat", model=name)
    costs = [BOOK.rate(request, Response(), used(part), at) for part in (*parts, both)]
    assume(all(cost.status == "priced" for cost in costs))
    amounts = [cost.amount_nanousd or 0 for cost in costs]
    assert abs(amounts[0] + amounts[1] - amounts[2]) <= 1


@settings(max_examples=200, deadline=None)
@given(name=names, asked=tiers, at=times, cuts=cutting, total=counts, size=counts)
def test_the_memo_changes_nothing(
    name: str, asked: str | None, at: int, cuts: list[int], total: int, size: int
) -> None:
    usage = used(split(total, cuts, TOKEN_BUCKETS[:7]), {"output": total})
    request = Request(
        provider="openai", operation="chat", model=name, service_tier=asked, input_bytes=size
    )
    fresh = PriceBook(BOOK.book_id, BOOK._body)
    fresh._matcher._parts = BOOK._matcher._parts
    assert fresh.rate(request, Response(), usage, at) == BOOK.rate(request, Response(), usage, at)
    assert fresh.bound(request, at) == BOOK.bound(request, at)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=40), stem=names)
def test_a_made_up_name_is_never_priced_by_a_sibling(text: str, stem: str) -> None:
    """A priced name is a known one, or a known one with a provider, a date or a fine-tune."""
    request = Request(provider="openai", operation="chat", model=f"{stem}-{text}")
    cost = BOOK.rate(request, Response(), Usage(input_uncached=1), NOW)
    if cost.status != "unpriced":
        assert cost.matched_by in {"exact", "alias", "normalised", "date", "fine_tune"}
        if cost.matched_by not in {"date", "fine_tune"}:
            assert request.model.strip().lower() in OPENAI["names"]
