"""Batches: what their requests ask together, and what the lines of their results used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tollspan.usage import (
    TOKEN_BUCKETS,
    Iteration,
    Quantities,
    Request,
    Response,
    Usage,
    sum_of,
)

from ._shapes import Reading

BATCH = "batch"
"""The service tier of batches, as the price book names it."""
# No price changes below so many input tokens of one request: smaller ones are priced together.
_PRICED_TOGETHER = 16_000


class Line(NamedTuple):
    """One request of a batch: its name there, and what it asks."""

    name: str
    request: Request


class Group(NamedTuple):
    """Requests of a batch that are let through as one call: those of one model and region.

    Attributes:
        request: What they ask together.
        lines: Each of them.
    """

    request: Request
    lines: tuple[Line, ...]


class Result(NamedTuple):
    """One line of a batch's results: the request's name, and what its answer says, if any."""

    name: str
    reading: Reading | None


def groups_of(lines: Iterable[Line]) -> list[Group]:
    """Part the requests of a batch by what rules and prices go by, in order."""
    found: dict[tuple[str, str | None], list[Line]] = {}
    for name, asked in lines:
        request = msgspec.structs.replace(asked, service_tier=BATCH)
        found.setdefault((request.model, request.region), []).append(Line(name, request))
    return [Group(_together(group), tuple(group)) for group in found.values()]


def _together(lines: Sequence[Line]) -> Request:
    requests = [line.request for line in lines]
    limits = [one.max_output_tokens for one in requests if one.max_output_tokens is not None]
    reserves = [
        one.input_reserve_tokens for one in requests if one.input_reserve_tokens is not None
    ]
    return msgspec.structs.replace(
        requests[0],
        input_bytes=sum(one.input_bytes for one in requests),
        unbounded=tuple(dict.fromkeys([why for one in requests for why in one.unbounded])),
        max_output_tokens=sum(limits) if len(limits) == len(requests) else None,
        prediction_bytes=sum(one.prediction_bytes for one in requests),
        quantities=_sum(one.quantities for one in requests),
        unlimited=tuple(dict.fromkeys([unit for one in requests for unit in one.unlimited])),
        input_reserve_tokens=sum(reserves) if len(reserves) == len(requests) else None,
        rounds=max(one.rounds for one in requests),
        calls=sum(one.calls for one in requests),
    )


def _sum(all_of_them: Iterable[Quantities]) -> Quantities:
    counts: dict[str, int] = {}
    for quantities in all_of_them:
        for unit, count in quantities:
            counts[unit] = counts.get(unit, 0) + count
    return tuple(sorted(counts.items()))


def read_results(batch_id: str, results: Sequence[Result]) -> Reading:
    """Say what the requests of a batch used together: each is priced by itself, at its own model.

    What failed, was cancelled or expired is not billed.

    Args:
        batch_id: The batch.
        results: Its lines.
    """
    answered = [one.reading for one in results if one.reading is not None]
    models = {one.response.model for one in answered}
    model = models.pop() if len(models) == 1 else None
    regions = [one.response.region for one in answered]
    response = Response(
        id=batch_id,
        model=model,
        finish_reasons=("ended",),
        service_tier=BATCH,
        region=regions[0] if regions else None,
    )
    if not answered:
        return Reading(None, response)
    used = [one.usage for one in answered if one.usage is not None]
    runs = [
        run if run.model is not None or model is not None else _of(run, reading.response.model)
        for reading in answered
        if reading.usage is not None
        for run in _runs(reading.usage)
    ]
    iterations = tuple(_packed(runs))
    rest_of_it = Usage(
        quantities=_sum(one.quantities for one in used),
        iterations=iterations,
        flags=tuple(dict.fromkeys([flag for one in used for flag in one.flags])),
    )
    usage = msgspec.structs.replace(rest_of_it, **sum_of(iterations))
    is_incomplete = any(
        one.is_incomplete or one.usage is None or one.usage.status != "reported" for one in answered
    )
    return Reading(usage, response, is_incomplete=is_incomplete)


def _runs(usage: Usage) -> tuple[Iteration, ...]:
    own = {name: count for name in TOKEN_BUCKETS if (count := getattr(usage, name))}
    return usage.iterations or (Iteration(**own),)


def _of(run: Iteration, model: str | None) -> Iteration:
    return msgspec.structs.replace(run, model=model)


def _packed(runs: Iterable[Iteration]) -> Iterable[Iteration]:
    """Put small runs of one model together, which changes no price; a batch has many."""
    open_: dict[str | None, list[Iteration]] = {}
    sizes: dict[str | None, int] = {}
    for run in runs:
        size = run.input_tokens
        if size > _PRICED_TOGETHER:
            yield run
            continue
        if sizes.get(run.model, 0) + size > _PRICED_TOGETHER:
            yield together(open_.pop(run.model))
            sizes[run.model] = 0
        open_.setdefault(run.model, []).append(run)
        sizes[run.model] = sizes.get(run.model, 0) + size
    for rest in open_.values():
        yield together(rest)


def together(runs: Sequence[Iteration]) -> Iteration:
    """Add runs of one model up."""
    return Iteration(**sum_of(tuple(runs)), model=runs[0].model)
