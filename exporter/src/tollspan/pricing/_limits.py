"""How many tokens a call can have at most, and what the dearest of them costs."""

from __future__ import annotations

from operator import attrgetter
from typing import NamedTuple

from tollspan.usage import Request

from . import _rows
from ._file import Model


class Step(NamedTuple):
    """Dearest prices of a token for calls with more than `above` input tokens, in pico-USD."""

    above: int
    input_picousd: int
    output_picousd: int | None


class Limits(NamedTuple):
    """Tokens that a call can have at most.

    Attributes:
        input_tokens: The context window where bytes are no bound, else None: ask the bytes.
        is_input_unknown: Bytes are no bound and no window is known.
        output: Output tokens of all choices and of predictions; None when nothing limits them.
        input_reasons, reasons: Why, without and with what concerns the output.
    """

    input_tokens: int | None
    is_input_unknown: bool
    output: int | None
    input_reasons: tuple[str, ...]
    reasons: tuple[str, ...]

    @classmethod
    def of(cls, request: Request, window: int | None, max_output: int | None) -> Limits:
        """Work out the limits of a request for a model of this window and output limit."""
        input_reasons: tuple[str, ...] = ()
        if request.unbounded:
            word = "context_window" if window is not None else "no_context_window"
            input_reasons = (f"{word}:{request.unbounded[0]}",)
        why: tuple[str, ...] = ()
        limit = request.max_output_tokens
        if limit is None:
            limit, why = max_output, ("model_max",)
        if limit is None:
            limit, why = window, ("context_window:output",)
        if limit is None:
            why = ("no_output_limit",)
        output = None
        if limit is not None:
            output = max(limit, 0) * max(request.choices, 1) + max(request.prediction_bytes, 0)
        return cls(
            input_tokens=window if request.unbounded else None,
            is_input_unknown=bool(request.unbounded) and window is None,
            output=output,
            input_reasons=input_reasons,
            reasons=(*input_reasons, *why),
        )


def steps(
    model: Model, asked: str | None, auto_tiers: tuple[str, ...], at_unix_ns: int
) -> tuple[Step, ...]:
    """Return the dearest prices over the tiers that a call can reach, by rising context tier.

    Empty when the model has no row in the tier that was asked for. A step's prices are never below
    those of the one before, so the last one reached bounds all calls of fewer tokens too.
    """
    tiers = _rows.reachable_tiers(asked, auto_tiers)
    per_tier = [_rows.active(model, tier, at_unix_ns) for tier in tiers]
    if not per_tier[0]:
        return ()
    found: list[Step] = []
    inputs: int = 0
    outputs: int | None = None
    for row in sorted((row for rows in per_tier for row in rows), key=attrgetter("above")):
        into, out = _rows.dearest(row)
        inputs = max(inputs, into)
        outputs = out if outputs is None else max(outputs, out or 0)
        if found and found[-1].above == row.above:
            found.pop()
        found.append(Step(row.above, inputs, outputs))
    return tuple(found)
