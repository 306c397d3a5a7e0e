"""An explanation of one call, in words and in JSON."""

from __future__ import annotations

import msgspec

from tollspan.budget import OWNERS, Balance, Change, Decision, Matching, Seen, end_of, read_scope
from tollspan.usage import (
    TAG_PREFIX,
    TOOL_PROVIDER,
    Attribution,
    Call,
    format_amount,
    format_usd,
    rfc3339,
    to_decimal,
)

from ._event_line import unit_name
from ._events import NOBODY
from ._periods import period_words
from ._terminal import Cell, Column, Style, Value, print_line, print_table

_NS = 1_000_000_000
_OUTCOMES: dict[str, tuple[str, Style]] = {
    "allow": ("let through", "good"),
    "warn": ("let through, with a warning", "warning"),
    "shadow": ("let through, and noted", "warning"),
    "clamp": ("let through, and let write less", "warning"),
    "reroute": ("let through, with another model", "warning"),
    "deny": ("refused", "bad"),
}


class Touch(msgspec.Struct, frozen=True, kw_only=True):
    """A budget that counts the call.

    Attributes:
        balance: Its account for this call, as it stands.
        asked: What the call would hold there; None where it is refused before anything is asked.
        matching: How the call meets its conditions.
    """

    balance: Balance
    asked: int | None
    matching: Matching

    @property
    def fits(self) -> bool | None:
        """Whether the account has room for the call; None where nothing was asked of it."""
        return None if self.asked is None else self.balance.fits(self.asked)


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What the rules say of a call.

    Attributes:
        call: The call.
        source: The document.
        decision: What the gate would say.
        touches: The budgets that count it, in the document's order.
        others: Those that don't.
    """

    call: Call
    source: str
    decision: Decision
    touches: tuple[Touch, ...]
    others: tuple[Matching, ...]

    def as_json(self) -> dict[str, object]:
        """Return it for scripts; amounts are decimal strings in the budget's unit."""
        note, denial = self.decision.note, self.decision.denial
        change = self.decision.change
        request = self.call.request
        sent = request if change is None else change.request
        return {
            "document": self.source,
            "time": rfc3339(self.call.started_at_unix_ns),
            "provider": request.provider,
            "operation": request.operation,
            "model": request.model,
            "input_bytes": request.input_bytes,
            "max_output_tokens": request.max_output_tokens,
            "attribution": _whose(self.call.attribution),
            "decision": note.action,
            "mode": note.mode,
            "rule_ids": note.rule_ids,
            "sent_model": sent.model,
            "sent_max_output_tokens": sent.max_output_tokens,
            "error_type": None if denial is None else denial.error_type,
            "text": None if denial is None else str(denial),
            "bound_nanousd": None if note.bound_nanousd is None else str(note.bound_nanousd),
            "bound_reasons": note.bound_reasons,
            "touched": [_touch_json(one, self.call) for one in self.touches],
            "untouched": [  # in the document, and not for this call
                {
                    "budget": one.budget.id,
                    "why": _why_not(one),
                }
                for one in self.others
            ],
        }


def print_explanation(explanation: Explanation) -> None:
    """Print it for people."""
    decision = explanation.decision
    text, style = _OUTCOMES.get(decision.note.action, (decision.note.action, "warning"))
    print_line(_call(explanation.call), ": ", Cell(text, style))
    if decision.denial is not None:
        print_line("  ", str(decision.denial))
    if decision.change is not None:
        print_line(f"  {_change(decision.change)}")
    if explanation.touches:  # else nobody works it out
        print_line(f"  {_bound(decision)}")
    if decision.note.mode != "enforce":
        print_line(f"  TOLLSPAN_MODE is {decision.note.mode}: no call is refused")
    print_line()
    if explanation.touches:
        _print_touches(explanation)
    else:
        print_line(f"No budget of {explanation.source} counts it.")
    if explanation.others:
        print_line()
        print_line(f"Of {explanation.source} do not count it:")
        for one in explanation.others:
            print_line("  ", one.budget.id, Cell(f": {'; '.join(_why_not(one))}", "quiet"))


def _change(change: Change) -> str:
    """Say what goes out instead of what was asked for."""
    asked, request = change.asked, change.request
    said = [f"{request.model} in place of {asked.model}"] if request.model != asked.model else []
    if request.max_output_tokens != asked.max_output_tokens:
        said.append(f"at most {request.max_output_tokens:,} tokens out")
    return f"goes out with {' and '.join(said)}"


def _print_touches(explanation: Explanation) -> None:
    print_table(
        (
            Column("budget"),
            Column("of", if_any=True),
            Column("period", may_go=True),
            Column("limit", is_number=True),
            Column("spent", is_number=True),
            Column("held", is_number=True),
            Column("left", is_number=True),
            Column("asked", is_number=True),
            Column("fits"),
            Column("because", is_wide=True),
        ),
        [_row(one) for one in explanation.touches],
    )


def _row(touch: Touch) -> tuple[Value, ...]:
    balance = touch.balance
    account = balance.account
    unit = account.unit
    left = max(0, account.limit - balance.counted)
    fits = touch.fits
    says: Style = "good" if fits else "warning" if account.is_soft else "bad"
    words = {None: "", True: "yes", False: f"no ({touch.matching.budget.on_exceed})"}
    return (
        account.budget_id,
        ", ".join(f"{key} {value or NOBODY}" for key, value in read_scope(account.scope)),
        period_words(account.period),
        format_amount(account.limit, unit),
        format_amount(balance.posted, unit),
        format_amount(balance.held + balance.unresolved, unit),
        format_amount(left, unit),
        "" if touch.asked is None else format_amount(touch.asked, unit),
        Cell(words[fits], says),
        "; ".join(_why_it_counts(touch.matching)) or "every call counts",
    )


def _touch_json(touch: Touch, call: Call) -> dict[str, object]:
    balance = touch.balance
    account = balance.account
    unit = account.unit
    ends = end_of(touch.matching.budget.window, account.period, call.started_at_unix_ns)
    return {
        "budget": account.budget_id,
        "scope": dict(read_scope(account.scope)),
        "period": account.period,
        "unit": unit_name(unit),
        "limit": to_decimal(account.limit, unit),
        "posted": to_decimal(balance.posted, unit),
        "held": to_decimal(balance.held, unit),
        "unresolved": to_decimal(balance.unresolved, unit),
        "remaining": to_decimal(account.limit - balance.counted, unit),
        "asked": None if touch.asked is None else to_decimal(touch.asked, unit),
        "fits": touch.fits,
        "on_exceed": touch.matching.budget.on_exceed,
        "resets_at": None if ends is None else rfc3339(int(ends.timestamp()) * _NS),
        "because": _why_it_counts(touch.matching),
    }


def _why_not(matching: Matching) -> list[str]:
    """Say what keeps a budget from counting the call."""
    whys = [] if matching.is_of_plan else [_plan(matching)]
    return whys + [_why(seen) for seen in matching.seen if not seen.is_met]


def _why_it_counts(matching: Matching) -> list[str]:
    """Say what a budget asks, all of which the call meets."""
    whys = [] if matching.budget.plan is None else [_plan(matching)]
    return whys + [_why(seen) for seen in matching.seen]


def _plan(matching: Matching) -> str:
    word = "as" if matching.is_of_plan else "not"
    return f"the customer's plan is {matching.plan or 'none'}, {word} {matching.budget.plan}"


def _why(seen: Seen) -> str:
    """Say what a condition asks, and what the call says: `model is gpt-4o, as gpt-4o*`."""
    condition = seen.condition
    parts = [f"not {' nor '.join(condition.excluded)}"] if condition.excluded else []
    if condition.patterns:
        parts.insert(0, " or ".join(condition.patterns))
    asked = ", but ".join(parts)
    nothing = "none" if condition.key in ("model", "tool") else NOBODY
    said = f"{condition.key} is {nothing if seen.value is None else seen.value}"
    if seen.is_met:
        return f"{said}, as {asked}"
    return f"{said}, not {asked}" if condition.patterns else f"{said}; asked is {asked}"


def _call(call: Call) -> str:
    request = call.request
    if request.provider == TOOL_PROVIDER:
        what = f"a call of the tool {request.model}"
    else:
        limit = request.max_output_tokens
        what = (
            f"{request.operation} with {request.provider}/{request.model}, "
            f"{request.input_bytes:,} bytes in, "
            f"{'no limit of' if limit is None else f'at most {limit:,}'} tokens out"
        )
    whose = ", ".join(f"{name} {value}" for name, value in _whose(call.attribution).items())
    return f"{what}, for {whose or 'nobody in particular'}"


def _whose(attribution: Attribution) -> dict[str, str]:
    """Return what is said of whom a call is for, by dimension."""
    said = {name: getattr(attribution, name) for name in OWNERS}
    tags = {f"{TAG_PREFIX}{name}": value for name, value in attribution.tags}
    return {name: value for name, value in {**said, **tags}.items() if value is not None}


def _bound(decision: Decision) -> str:
    note = decision.note
    if note.bound_nanousd is None:
        text = "nothing bounds what it costs"
    else:
        text = f"at most {format_usd(note.bound_nanousd, places=2)} USD"
    return f"{text} ({', '.join(note.bound_reasons)})" if note.bound_reasons else text
