"""The dashboard of money: what is spent, by whom, how budgets stand, and what was refused."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboard_panels import (
    MODELS,
    SECONDS,
    SERVICES,
    SHARE,
    USD,
    Query,
    bars,
    board,
    lines,
    number,
    rows,
    section,
    words,
)
from prometheus_names import has, label, of
from tollspan import semconv
from tollspan.semconv import Metric

MODEL: Final = label(semconv.GEN_AI_REQUEST_MODEL)
PROVIDER: Final = label(semconv.GEN_AI_PROVIDER_NAME)
TOOL: Final = label(semconv.GEN_AI_TOOL_NAME)
CUSTOMER: Final = label(semconv.TOLLSPAN_CUSTOMER_ID)
RULE: Final = label(semconv.TOLLSPAN_RULE_ID)
KIND: Final = label(semconv.ERROR_TYPE)
_NAMES: Final = (
    semconv.TOLLSPAN_BUDGET_ID,
    semconv.TOLLSPAN_BUDGET_UNIT,
    semconv.TOLLSPAN_BUDGET_SCOPE,
)
ACCOUNT: Final = ", ".join(map(label, _NAMES))
CALLS: Final = (SERVICES, MODELS)
COST: Final = of(semconv.METRIC_COST, *CALLS)
OF_MODELS: Final = has(semconv.GEN_AI_REQUEST_MODEL)
TOKENS: Final = of(semconv.METRIC_TOKENS, *CALLS, OF_MODELS)
UNPRICED: Final = of(semconv.METRIC_UNPRICED, *CALLS)
OVERRUNS: Final = of(semconv.METRIC_OVERRUNS, *CALLS)
REFUSED: Final = of(semconv.METRIC_DECISIONS, *CALLS, has(semconv.TOLLSPAN_DECISION, "deny"))
WARNINGS: Final = of(semconv.METRIC_WARNINGS, SERVICES)
HOUR: Final = 3_600
MONTH: Final = 30 * 24 * HOUR


def in_range(counter: str, by: str = "") -> str:
    """Sum up what a counter counted in the range that is looked at."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (increase({counter}[$__range]))"


def an_hour(counter: str, by: str) -> str:
    """Sum up a counter's pace, for an hour."""
    return f"sum by ({by}) (rate({counter}[$__rate_interval])) * {HOUR}"


def account(metric: Metric) -> str:
    """Return a gauge of budgets: every process tells the same, so the highest."""
    return f"max by ({ACCOUNT}) ({of(metric, SERVICES)})"


LIMIT: Final = account(semconv.METRIC_BUDGET_LIMIT)
SPENT: Final = account(semconv.METRIC_BUDGET_SPENT)
HELD: Final = account(semconv.METRIC_BUDGET_HELD)
REMAINING: Final = account(semconv.METRIC_BUDGET_REMAINING)
USED: Final = f"({SPENT} + {HELD}) / ({LIMIT} > 0)"


# A gauge's growth and not a counter's: an account that is corrected would look like one that began
# anew. One that did begin anew counts nothing until the hour has passed.
GROWTH: Final = f"clamp_min(delta({of(semconv.METRIC_BUDGET_SPENT, SERVICES)}[1h]), 0)"
PACE: Final = f"max by ({ACCOUNT}) ({GROWTH}) / {HOUR}"
BURN: Final = f"{PACE} * {account(semconv.METRIC_BUDGET_PERIOD)} / ({LIMIT} > 0)"


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = board(
        "tollspan-spend",
        "tollspan: spend and budgets",
        "What calls to models and tools cost, how budgets stand, and what was refused. Pace and "
        "shares, for people: exact sums are in the ledger (`tollspan report`, `/v1/usage`).",
    )
    _numbers(made)
    _spend(made)
    _budgets(made)
    _refusals(made)
    return made


def _numbers(made: Dashboard) -> None:
    section(
        made,
        "In this range",
        number("Spent", in_range(COST), unit=USD, says="Cost of all calls in the range."),
        number(
            "An hour, now",
            f"sum(rate({COST}[$__rate_interval])) * {HOUR}",
            unit=USD,
            says="At the pace of the last minutes.",
        ),
        number(
            "30 days, at this range's pace",
            f"sum(rate({COST}[$__range])) * {MONTH}",
            unit=USD,
            says="If all went on as in the range.",
        ),
        number(
            "Refused calls",
            in_range(REFUSED),
            limits=(1, 100),
            says="By budgets, by policies, or since no budget could be asked.",
        ),
        number(
            "Calls without a full price",
            in_range(UNPRICED),
            limits=(1, 10),
            says="They are in no sum of money here, and never counted as free. Give their models "
            "a price: docs/how-to/prices.md.",
        ),
        number(
            "Overruns",
            in_range(OVERRUNS),
            limits=(1, 10),
            says="Calls that used more than was held for them. All of it is counted.",
        ),
    )


def _spend(made: Dashboard) -> None:
    models = of(semconv.METRIC_COST, *CALLS, OF_MODELS)
    tools = of(semconv.METRIC_COST, SERVICES, has(semconv.GEN_AI_TOOL_NAME))
    owned = of(semconv.METRIC_COST, *CALLS, has(semconv.TOLLSPAN_CUSTOMER_ID))
    section(
        made,
        "Spend",
        lines(
            "USD an hour, by model",
            Query(an_hour(models, MODEL), words(semconv.GEN_AI_REQUEST_MODEL)),
            unit=USD,
            is_stacked=True,
        ),
        lines(
            "USD an hour, by service",
            Query(an_hour(COST, "job"), "{{job}}"),
            unit=USD,
            is_stacked=True,
        ),
        lines(
            "USD an hour, by provider",
            Query(an_hour(models, PROVIDER), words(semconv.GEN_AI_PROVIDER_NAME)),
            unit=USD,
            span=8,
            is_stacked=True,
        ),
        lines(
            "USD an hour, by tool",
            Query(an_hour(tools, TOOL), words(semconv.GEN_AI_TOOL_NAME)),
            unit=USD,
            span=8,
            is_stacked=True,
        ),
        bars(
            "The ten dearest customers",
            Query(
                f"topk(10, {in_range(owned, CUSTOMER)})",
                words(semconv.TOLLSPAN_CUSTOMER_ID),
            ),
            unit=USD,
            span=8,
            says="Where programs run with TOLLSPAN_METRIC_DIMENSIONS=customer: by default no "
            "customer is a label.",
        ),
        _models(),
    )


def _models() -> table.Panel:
    by = f"{PROVIDER}, {MODEL}"
    made = has(semconv.TOLLSPAN_DECISION, "deny", is_not=True)
    cost = in_range(of(semconv.METRIC_COST, *CALLS, OF_MODELS), by)
    calls = in_range(of(semconv.METRIC_DECISIONS, *CALLS, OF_MODELS, made), by)
    tokens = in_range(TOKENS, by)
    return rows(
        "Models",
        (Query(cost, "spent"), USD),
        (Query(calls, "calls"), "short"),
        (Query(f"{cost} / ({calls} > 0)", "a call"), USD),
        (Query(f"1e6 * {cost} / ({tokens} > 0)", "a million tokens"), USD),
        (Query(tokens, "tokens"), "short"),
        named=((semconv.GEN_AI_PROVIDER_NAME, "provider"), (semconv.GEN_AI_REQUEST_MODEL, "model")),
        says="What a call and a million tokens cost on the whole: with caches, tiers and fees.",
    )


def _budgets(made: Dashboard) -> None:
    legend = words(semconv.TOLLSPAN_BUDGET_ID, semconv.TOLLSPAN_BUDGET_SCOPE)
    section(
        made,
        "Budgets",
        bars(
            "Used of the limit",
            Query(f"sort_desc({USED})", legend),
            unit=SHARE,
            limits=(0.8, 0.95),
            most=1,
            says="Spent and held, of each budget's window in force. At 100 % calls are refused.",
        ),
        lines(
            "Burn rate",
            Query(BURN, legend),
            unit="none",
            says="Over the last hour: at 1 the limit is used up just when the window ends, at 2 in "
            "half that time. Of windows that a clock ends.",
        ),
        lines(
            "Used up in, at the pace of the last hour",
            Query(f"{REMAINING} / ({PACE} > 0)", legend),
            unit=SECONDS,
            says="If calls went on so. A budget that starts anew before that is not used up.",
        ),
        lines(
            "Unresolved, of the limit",
            Query(f"{account(semconv.METRIC_BUDGET_UNRESOLVED)} / ({LIMIT} > 0)", legend),
            unit=SHARE,
            says="Held though nobody knows whether it was spent: `tollspan budgets --unresolved`.",
        ),
        rows(
            "Accounts",
            (Query(LIMIT, "limit"), "short"),
            (Query(SPENT, "spent"), "short"),
            (Query(HELD, "held"), "short"),
            (Query(REMAINING, "left"), "short"),
            (Query(USED, "used"), SHARE),
            (Query(account(semconv.METRIC_BUDGET_RESETS_IN), "starts anew in"), SECONDS),
            named=(
                (semconv.TOLLSPAN_BUDGET_ID, "budget"),
                (semconv.TOLLSPAN_BUDGET_SCOPE, "of"),
                (semconv.TOLLSPAN_BUDGET_UNIT, "unit"),
            ),
            says="The windows in force. Divided budgets are here where their dimensions are in "
            "TOLLSPAN_METRIC_DIMENSIONS.",
        ),
    )


def _refusals(made: Dashboard) -> None:
    section(
        made,
        "Refusals and warnings",
        lines(
            "Refused calls an hour, by rule",
            Query(an_hour(REFUSED, RULE), words(semconv.TOLLSPAN_RULE_ID)),
            span=8,
        ),
        lines(
            "Refused calls an hour, by kind",
            Query(an_hour(REFUSED, KIND), words(semconv.ERROR_TYPE)),
            span=8,
            says="`tollspan.gate_unavailable`: no budget could be asked, and rules refuse then.",
        ),
        lines(
            "Warnings an hour",
            Query(
                an_hour(WARNINGS, f"{RULE}, {label(semconv.TOLLSPAN_WARNING_REASON)}"),
                words(semconv.TOLLSPAN_RULE_ID, semconv.TOLLSPAN_WARNING_REASON),
            ),
            span=8,
        ),
        lines(
            "Calls without a full price an hour, by model",
            Query(an_hour(UNPRICED, MODEL), words(semconv.GEN_AI_REQUEST_MODEL)),
        ),
        lines(
            "Overruns an hour, by model",
            Query(an_hour(OVERRUNS, MODEL), words(semconv.GEN_AI_REQUEST_MODEL)),
        ),
    )
