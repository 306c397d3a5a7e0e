"""The dashboard of calls: how many, how fast, how they end, what tokens they take."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboard_panels import (
    COUNT,
    MODELS,
    PER_SECOND,
    SECONDS,
    SERVICES,
    SHARE,
    Query,
    board,
    lines,
    number,
    section,
    words,
)
from prometheus_names import has, label, of, series
from tollspan import semconv
from tollspan.semconv import Metric

MODEL: Final = label(semconv.GEN_AI_REQUEST_MODEL)
TOOL: Final = label(semconv.GEN_AI_TOOL_NAME)
BUCKET: Final = label(semconv.TOLLSPAN_TOKEN_BUCKET)
CALLS: Final = (SERVICES, MODELS)
DECISIONS: Final = of(semconv.METRIC_DECISIONS, *CALLS)
MADE: Final = of(
    semconv.METRIC_DECISIONS, *CALLS, has(semconv.TOLLSPAN_DECISION, "deny", is_not=True)
)
REFUSED: Final = of(semconv.METRIC_DECISIONS, *CALLS, has(semconv.TOLLSPAN_DECISION, "deny"))
FAILED: Final = of(
    semconv.METRIC_DECISIONS,
    *CALLS,
    has(semconv.TOLLSPAN_DECISION, "deny", is_not=True),
    has(semconv.ERROR_TYPE),
)
SLOWEST: Final = 0.99
TOKENS: Final = of(semconv.METRIC_TOKENS, *CALLS)
CACHE_READ: Final = of(semconv.METRIC_TOKENS, *CALLS, f'{BUCKET}=~".*cache_read"')
INPUT: Final = of(semconv.METRIC_TOKENS, *CALLS, f'{BUCKET}=~"input_uncached|.*cache_.*|.*_in"')


def pace(counter: str, by: str = "") -> str:
    """Sum up a counter's pace, for a second."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({counter}[$__rate_interval]))"


def quantile(share: float, metric: Metric, *matchers: str, by: str = "") -> str:
    """Return a quantile of a histogram."""
    grouped = f"le, {by}" if by else "le"
    buckets = f"{series(metric)}_bucket{{{', '.join(matchers)}}}"
    rates = f"sum by ({grouped}) (rate({buckets}[$__rate_interval]))"
    return f"histogram_quantile({share}, {rates})"


def dashboard() -> Dashboard:
    """Return the dashboard."""
    made = board(
        "tollspan-calls",
        "tollspan: calls",
        "Calls to models and tools: how many, how fast, how they end, and what tokens they take.",
    )
    _calls(made)
    _latency(made)
    _tokens(made)
    _tools(made)
    return made


def _calls(made: Dashboard) -> None:
    section(
        made,
        "Calls",
        number("Let through", f"sum(increase({MADE}[$__range]))", says="Calls, in the range."),
        number(
            "Refused",
            f"sum(increase({REFUSED}[$__range])) / sum(increase({DECISIONS}[$__range]))",
            unit=SHARE,
            limits=(0.01, 0.05),
            says="Of all calls that the gate was asked for.",
        ),
        number(
            "Failed",
            f"sum(increase({FAILED}[$__range])) / sum(increase({MADE}[$__range]))",
            unit=SHARE,
            limits=(0.01, 0.05),
            says="Of calls that were let through: errors of providers, time-outs, lost lines.",
        ),
        number(
            "A call, 95th percentile",
            quantile(0.95, semconv.METRIC_OPERATION_DURATION, *CALLS),
            unit=SECONDS,
        ),
        number(
            "The gate, 99th percentile",
            quantile(0.99, semconv.METRIC_GATE_DURATION, SERVICES),
            unit=SECONDS,
            limits=(0.05, 0.25),
            says="How long calls wait for the decision of the budgets, of all models.",
        ),
        number(
            "Input out of caches",
            f"sum(increase({CACHE_READ}[$__range])) / sum(increase({INPUT}[$__range]))",
            unit=SHARE,
            says="Tokens of the input that a provider's cache had.",
        ),
        lines(
            "Calls a second, by model",
            Query(pace(MADE, MODEL), words(semconv.GEN_AI_REQUEST_MODEL)),
            unit=PER_SECOND,
            span=8,
            is_stacked=True,
        ),
        lines(
            "Calls a second, by decision",
            Query(
                pace(DECISIONS, label(semconv.TOLLSPAN_DECISION)), words(semconv.TOLLSPAN_DECISION)
            ),
            unit=PER_SECOND,
            span=8,
            is_stacked=True,
        ),
        lines(
            "Failed calls a second",
            Query(
                pace(FAILED, f"{label(semconv.ERROR_TYPE)}, {MODEL}"),
                words(semconv.ERROR_TYPE, semconv.GEN_AI_REQUEST_MODEL),
            ),
            unit=PER_SECOND,
            span=8,
        ),
    )


def _latency(made: Dashboard) -> None:
    duration = semconv.METRIC_OPERATION_DURATION
    section(
        made,
        "Latency",
        lines(
            "A call",
            *(
                Query(quantile(share, duration, *CALLS), f"{share:.0%}", share == SLOWEST)
                for share in (0.5, 0.95, SLOWEST)
            ),
            unit=SECONDS,
            says="The dots are single calls, and lead to their traces.",
        ),
        lines(
            "A call, 95th percentile by model",
            Query(quantile(0.95, duration, *CALLS, by=MODEL), words(semconv.GEN_AI_REQUEST_MODEL)),
            unit=SECONDS,
        ),
        lines(
            "To the first chunk of a stream, 95th percentile",
            Query(
                quantile(0.95, semconv.METRIC_TIME_TO_FIRST_CHUNK, *CALLS, by=MODEL),
                words(semconv.GEN_AI_REQUEST_MODEL),
            ),
            unit=SECONDS,
            span=8,
        ),
        lines(
            "From chunk to chunk, 95th percentile",
            Query(
                quantile(0.95, semconv.METRIC_TIME_PER_OUTPUT_CHUNK, *CALLS, by=MODEL),
                words(semconv.GEN_AI_REQUEST_MODEL),
            ),
            unit=SECONDS,
            span=8,
        ),
        lines(
            "The gate, of all models",
            *(
                Query(quantile(share, semconv.METRIC_GATE_DURATION, SERVICES), f"{share:.0%}")
                for share in (0.5, 0.95, 0.99)
            ),
            unit=SECONDS,
            span=8,
            says="In microseconds while leases last; a call that waits for the authority takes up "
            "to TOLLSPAN_ACQUIRE_TIMEOUT.",
        ),
    )


def _tokens(made: Dashboard) -> None:
    section(
        made,
        "Tokens and caches",
        lines(
            "Tokens a second, by bucket",
            Query(pace(TOKENS, BUCKET), words(semconv.TOLLSPAN_TOKEN_BUCKET)),
            is_stacked=True,
            says="Each token is in one bucket.",
        ),
        lines(
            "Tokens a second, by model",
            Query(pace(TOKENS, MODEL), words(semconv.GEN_AI_REQUEST_MODEL)),
            is_stacked=True,
        ),
        lines(
            "Input out of caches, by model",
            Query(
                f"{pace(CACHE_READ, MODEL)} / {pace(INPUT, MODEL)}",
                words(semconv.GEN_AI_REQUEST_MODEL),
            ),
            unit=SHARE,
            span=8,
        ),
        lines(
            "Written into caches, tokens a second",
            Query(
                pace(of(semconv.METRIC_TOKENS, *CALLS, f'{BUCKET}=~"cache_write.*"'), BUCKET),
                words(semconv.TOLLSPAN_TOKEN_BUCKET),
            ),
            unit=COUNT,
            span=8,
            says="OpenAI's caches cost nothing to write, and are not here.",
        ),
        lines(
            "Tokens of a call, median",
            Query(
                quantile(
                    0.5,
                    semconv.METRIC_TOKEN_USAGE,
                    *CALLS,
                    by=label(semconv.GEN_AI_TOKEN_TYPE),
                ),
                words(semconv.GEN_AI_TOKEN_TYPE),
            ),
            span=8,
        ),
    )


def _tools(made: Dashboard) -> None:
    called = f"{series(semconv.METRIC_EXECUTE_TOOL_DURATION)}_count{{{SERVICES}}}"
    asked = f"{series(semconv.METRIC_MCP_DURATION)}_count{{{SERVICES}}}"
    section(
        made,
        "Tools",
        lines(
            "Calls a second",
            Query(pace(called, TOOL), words(semconv.GEN_AI_TOOL_NAME)),
            Query(pace(asked, TOOL), f"{words(semconv.GEN_AI_TOOL_NAME)} (MCP)"),
            unit=PER_SECOND,
        ),
        lines(
            "95th percentile",
            Query(
                quantile(0.95, semconv.METRIC_EXECUTE_TOOL_DURATION, SERVICES, by=TOOL),
                words(semconv.GEN_AI_TOOL_NAME),
            ),
            Query(
                quantile(0.95, semconv.METRIC_MCP_DURATION, SERVICES, by=TOOL),
                f"{words(semconv.GEN_AI_TOOL_NAME)} (MCP)",
            ),
            unit=SECONDS,
        ),
    )
