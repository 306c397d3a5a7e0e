"""Who pays here: what the blocks around say, over what came in, over the process's default."""

from __future__ import annotations

from typing import Any

import msgspec
from opentelemetry.context import Context, create_key, get_current, set_value
from opentelemetry.trace import get_current_span

from tollspan.usage import Attribution, merge_attributions

from ._baggage import Baggage

_MOST_AGENTS = 1_000
_KEY = create_key("tollspan-attribution")
_default = Attribution()
_baggage: Baggage | None = None
_inbound: Baggage | None = None


class Stated(msgspec.Struct):
    """What the blocks around say, worked out when the innermost was entered.

    Attributes:
        stated: What they say, and nothing else.
        default: The process's default at that time.
        in_force: The one over the other.
        agents: Those of the blocks, outermost first; one in a row is there once.
    """

    stated: Attribution
    default: Attribution
    in_force: Attribution
    agents: tuple[str, ...] = ()


def set_default(attribution: Attribution) -> None:
    """Say who pays where nobody else says it: what the environment and the resource know."""
    global _default  # noqa: PLW0603 - one default a process, set by launch
    _default = attribution


def use_baggage(baggage: Baggage | None) -> None:
    """Say how attribution travels between services from here on; None for not at all."""
    global _baggage, _inbound  # noqa: PLW0603 - one setting a process, set by launch
    _baggage = baggage
    _inbound = baggage if baggage is not None and baggage.reads else None


def capture(context: Context | None = None) -> Attribution:
    """Return the attribution in force in a context, the current one by default.

    Each call of a provider comes here: what can be worked out before, is.
    """
    if context is None:
        context = get_current()
    found: Any = context.get(_KEY)
    if _inbound is not None:
        return _over_inbound(_inbound, context, found)
    if found is None:
        return _default
    return found.in_force if found.default is _default else _renewed(found)


def capture_in_trace(context: Context | None = None) -> Attribution:
    """Do as `capture` does, and name the trace around; for rules that go by traces."""
    found = capture(context)
    span = get_current_span(context).get_span_context()
    if not span.is_valid:
        return found
    return msgspec.structs.replace(found, trace=f"{span.trace_id:032x}")


def agents(context: Context | None = None) -> tuple[str, ...]:
    """Name the agents on the way to here, outermost first; one that follows itself counts once.

    They are those that blocks name, and before them the one that is named outside of all blocks.
    Of more than a thousand, the innermost are named.
    """
    if context is None:
        context = get_current()
    found: Any = context.get(_KEY)
    inner: tuple[str, ...] = () if found is None else found.agents
    outside = _default if _inbound is None else _over_inbound(_inbound, context, None)
    if outside.agent is None or outside.agent in inner[:1]:
        return inner
    return (outside.agent, *inner)


def stating(context: Context, said: Attribution) -> Context:
    """Return a context in which `said` wins over what was said there."""
    found: Any = context.get(_KEY)
    agents: tuple[str, ...] = () if found is None else found.agents
    if said.agent is not None and said.agent not in agents[-1:]:
        agents = (*agents[-_MOST_AGENTS:], said.agent)
    if found is not None:
        said = merge_attributions(found.stated, said)
    in_force = merge_attributions(_default, said)
    context = set_value(_KEY, Stated(said, _default, in_force, agents), context)
    if _baggage is not None and _baggage.writes:
        return _baggage.write(context, capture(context))
    return context


def _renewed(found: Stated) -> Attribution:
    """Put what is said over a default that was set since."""
    default = _default
    found.in_force = merge_attributions(default, found.stated)
    found.default = default  # last: another thread that sees it sees the other too
    return found.in_force


def _over_inbound(inbound: Baggage, context: Context, found: Stated | None) -> Attribution:
    below = merge_attributions(_default, inbound.read(context))
    return below if found is None else merge_attributions(below, found.stated)
