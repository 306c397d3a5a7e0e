"""How much of what budgets count, besides money, a call can use at most."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from tollspan.usage import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUESTS,
    TOOL_CALLS,
    TOOL_PROVIDER,
    BudgetUnit,
    Request,
    count_of,
    is_counted,
)

from ._limits import RESERVE, Extras, Fixed, Known, Limits, extras
from ._matching import CONSTANT_TOKENS, Matcher

_WRITING = frozenset({"chat", "text_completion", "generate_content"})
_NO_FEES = Fixed(0, frozenset(), Extras(0))

Most = tuple[int | None, tuple[str, ...]]
"""The most of a unit, None for no bound, and why it is not simply what the request says."""


class TokenLimits(NamedTuple):
    """The most tokens of a call.

    Attributes:
        into, out: Tokens read in all rounds, and written; None where nothing bounds them.
        input_reasons, output_reasons: Why.
        lacking: What nothing limits, and would have to be, for the input to have a bound.
    """

    into: int | None
    out: int | None
    input_reasons: tuple[str, ...]
    output_reasons: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    def of(self, unit: BudgetUnit) -> Most:
        """Return the most of input, of output, or of both together."""
        if unit == INPUT_TOKENS:
            return self.into, (*self.input_reasons, *self.lacking)
        if unit == OUTPUT_TOKENS:
            return self.out, self.output_reasons
        reasons = (*self.input_reasons, *self.output_reasons, *self.lacking)
        if self.into is None or self.out is None:
            return None, reasons
        return self.into + self.out, reasons


def token_limits(
    matcher: Matcher, request: Request, known: Known | None, at_unix_ns: int, *, ceiling: bool
) -> TokenLimits:
    """Work out the most tokens of a call, by the model's own limits where it has none.

    Args:
        matcher: Knows providers and reserves.
        request: What is asked.
        known: What is known of the model; None of one that is in no book.
        at_unix_ns: When the call starts.
        ceiling: Take its provider's largest for a model that has no prices.
    """
    window: int | None = None
    most_output: int | None = None
    part = matcher.part(request.provider)
    match, regional, always, has_output = None, None, _NO_FEES, True
    if known is not None and known.steps:
        match, regional, always = known.match, known.regional, known.always
        model, part = regional.model, match.part
        window, most_output = model.context_window, model.max_output_tokens
        # Without a price for it, output is counted all the same where there is any.
        has_output = known.steps[-1].output_picousd is not None or _writes(request)
    elif ceiling and part is not None:
        window, most_output = part.ceiling.context_window, part.ceiling.max_output_tokens
    more = extras(matcher, request, match, regional, at_unix_ns, always)
    limits = Limits.of(
        request,
        window,
        most_output,
        rounds=max(more.rounds, request.rounds, 1),
        reserve=more.input_reserve,
    )
    into = limits.input_tokens
    lacking: tuple[str, ...] = ()
    if more.unlimited in request.unlimited:
        into, lacking = None, (f"no_limit:{more.unlimited}",)
    elif into is None and not limits.is_input_unknown:
        constant = part.constant_tokens if part is not None else CONSTANT_TOKENS
        into = (request.input_bytes + constant) * limits.rounds
    return TokenLimits(
        into=into,
        out=limits.output if has_output else 0,
        input_reasons=limits.input_reasons,
        output_reasons=limits.reasons[len(limits.input_reasons) :] if has_output else (),
        lacking=lacking,
    )


def _writes(request: Request) -> bool:
    """Say whether a call may put tokens out, whatever its model has a price for."""
    return bool(request.max_output_tokens) or request.operation in _WRITING


def most_quantity(
    matcher: Matcher, request: Request, unit: BudgetUnit, billed: Collection[str]
) -> Most:
    """Return the most of a unit that is no token.

    What the request says; for what it can use without a limit, the operator's reserve, and for
    tools at the provider else the one that is taken for money too.

    Args:
        matcher: Knows the reserves.
        request: What is asked.
        unit: What is counted, `seconds` in milliseconds.
        billed: Units by which alone the model is billed, or by which the tool is.
    """
    is_tool = request.provider == TOOL_PROVIDER
    counts = dict(request.quantities)
    bases = {name.partition(":")[0] for name in counts}
    otherwise = dict.fromkeys(request.unlimited, None if is_tool else RESERVE)
    if not is_tool or TOOL_CALLS in counts:  # not of what is reported outside of any call
        otherwise |= dict.fromkeys(set(billed) - bases - otherwise.keys())
    total = count_of(unit, request.quantities)
    reasons: list[str] = []
    for name in sorted(otherwise):
        if not is_counted(unit, (name,)):
            continue
        most = matcher.reserve(name, otherwise[name])
        if most is None:
            return None, (f"no_limit:{name}",)
        total += count_of(unit, ((name, most),))
        reasons.append(f"reserve:{name}")
    if unit == REQUESTS and not is_tool:
        total = max(total, 1)
    return total, tuple(reasons)
