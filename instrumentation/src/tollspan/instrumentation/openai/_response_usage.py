"""Reads a whole response of the Responses API: usage, tools, and how it ended.

Source: openai-python 3.54, `types/responses/response.py`, `response_usage.py` and
`response_output_item.py`. Older versions of the SDK leave newer fields as plain JSON.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import msgspec

from tollspan.instrumentation._shapes import Reading, count, error_word, text, view
from tollspan.usage import TOKEN_BUCKETS, Iteration, Quantities, Response, Usage, sum_of

from ._response_input import code_unit
from ._usage import read_response_usage

ITEMS_OF_TOOLS = frozenset(
    {
        "code_interpreter_call", "file_search_call", "image_generation_call", "shell_call",
        "web_search_call",
    }
)  # fmt: skip
"""Types of output items that say what a tool at the provider used."""
_UNFINISHED = frozenset({"queued", "in_progress"})
# What made an image where the response does not say: a name without a price.
_UNNAMED_IMAGE_MODEL = "image_generation"


def field(value: object, name: str) -> object:
    """Return a field of the SDK's object, or of a view; plain JSON in it as views."""
    return view(getattr(value, name, None))


def listed(value: object) -> list[object]:
    """Return a list, its JSON objects as views; empty for what is no list."""
    found = view(value)
    return cast("list[object]", found) if isinstance(found, list) else []


def said_of(response: object) -> Response:
    """Return what a response says of itself; a compacted one says little."""
    status = text(field(response, "status"))
    reason = None
    if status == "incomplete":
        reason = text(field(field(response, "incomplete_details"), "reason"))
    ended = reason or status
    return Response(
        id=text(field(response, "id")),
        model=text(field(response, "model")),
        finish_reasons=(ended,) if ended is not None and ended not in _UNFINISHED else (),
        service_tier=text(field(response, "service_tier")),
    )


def read_response(response: object, collected: Iterable[object] = ()) -> Reading:
    """Read a response; one without usage, in the background say, may still use anything.

    Args:
        response: The SDK's object, or a view of its JSON.
        collected: Output items that came before it, taken where it has none itself.
    """
    said = said_of(response)
    failure = failure_of(response)
    reported = field(response, "usage")
    if reported is None:
        return Reading(Usage(status="unknown"), said, error_type=failure)
    usage = read_response_usage(reported)
    if usage.status == "unknown":
        return Reading(usage, said, error_type=failure)
    output = listed(field(response, "output")) or list(collected)
    quantities = quantities_of(output, response)
    if quantities:
        usage = msgspec.structs.replace(usage, quantities=quantities)
    made = [item for item in output if field(item, "type") == "image_generation_call"]
    images = _image_run(response)
    if images is not None:
        own = {name: getattr(usage, name) for name in TOKEN_BUCKETS}
        runs = (Iteration(**own), images)
        usage = msgspec.structs.replace(usage, iterations=runs, **sum_of(runs))
    # Whether a drawing's own author is in these counts, nobody says.
    is_incomplete = bool(made) and (
        images is None or any(field(item, "svg_usage") is not None for item in made)
    )
    if field(response, "status") in _UNFINISHED:
        usage = msgspec.structs.replace(usage, status="estimated")
        is_incomplete = True
    return Reading(usage, said, is_incomplete=is_incomplete, error_type=failure)


def failure_of(response: object) -> str | None:
    """Return the provider's word for why a response failed; None for one that did not."""
    if text(field(response, "status")) != "failed":
        return None
    return error_word(field(field(response, "error"), "code"), "failed")


def quantities_of(output: Iterable[object], response: object) -> Quantities:
    """Count what the tools at the provider used besides tokens.

    Args:
        output: Output items.
        response: The response, if there is one, that says how its tools were set up.
    """
    searches = 0
    stored = 0
    containers: set[str] = set()
    for item in output:
        kind = field(item, "type")
        if kind == "web_search_call":
            # It may also open a page, or look for something in it, which is free.
            action = field(field(item, "action"), "type")
            searches += action in (None, "search")
        elif kind == "file_search_call":
            stored += 1
        elif kind == "code_interpreter_call":
            containers.add(text(field(item, "container_id")) or "")
        elif kind == "shell_call":
            container = text(field(field(item, "environment"), "container_id"))
            containers.update((container,) if container is not None else ())
    billable = field(field(field(response, "tool_usage"), "web_search"), "num_requests")
    if type(billable) is int and billable >= 0:
        searches = billable
    counts = {"web_searches": searches, "storage_searches": stored}
    if containers:
        counts[_container_unit(response)] = len(containers)
    return tuple(sorted((unit, number) for unit, number in counts.items() if number))


def _container_unit(response: object) -> str:
    """Return the unit of the containers: with several sizes, that of the first one not plain."""
    for tool in listed(field(response, "tools")):
        for place in ("container", "environment"):
            memory = field(field(tool, place), "memory_limit")
            unit = code_unit(memory)
            if unit != code_unit(None):
                return unit
    return code_unit(None)


def _image_run(response: object) -> Iteration | None:
    """Return what the image tool's own model used, which the response's usage leaves out."""
    run = field(field(response, "tool_usage"), "image_gen")
    into = count(field(run, "input_tokens"))
    out = count(field(run, "output_tokens"))
    if not into and not out:
        return None
    cached = field(run, "cached_tokens_details")
    image_in = min(count(field(field(run, "input_tokens_details"), "image_tokens")), into)
    image_cached = min(count(field(cached, "cached_image_tokens")), image_in)
    text_cached = min(count(field(cached, "cached_text_tokens")), into - image_in)
    if cached is None:
        text_cached = min(count(field(run, "cached_tokens")), into - image_in)
    details = field(run, "output_tokens_details")
    text_out = min(count(field(details, "text_tokens")), out)
    return Iteration(
        input_uncached=into - image_in - text_cached,
        cache_read=text_cached,
        image_in=image_in - image_cached,
        image_cache_read=image_cached,
        output=text_out,
        image_out=out - text_out,
        model=_image_model(response),
    )


def _image_model(response: object) -> str:
    for tool in listed(field(response, "tools")):
        if field(tool, "type") == "image_generation":
            return text(field(tool, "model")) or _UNNAMED_IMAGE_MODEL
    return _UNNAMED_IMAGE_MODEL
