"""What Prometheus calls our metrics and attributes, by the rules of OpenTelemetry's translation.

Source: the specification's page "Prometheus and OpenMetrics compatibility", and otlptranslator 1.0
(`UnderscoreEscapingWithSuffixes`, the Collector's default).
"""

from __future__ import annotations

from typing import Final

from tollspan.semconv import Metric

_UNITS: Final = {"s": "seconds", "USD": "USD"}


def label(attribute: str) -> str:
    """Return the label of an attribute."""
    return attribute.replace(".", "_")


def series(metric: Metric) -> str:
    """Return the name of a metric's series; of a histogram, without `_bucket` and its like."""
    words = [label(metric.name)]
    if metric.unit in _UNITS:  # those in braces say what is counted, and are left out
        words.append(_UNITS[metric.unit])
    if metric.kind in ("counter", "observable counter"):
        words.append("total")
    elif metric.unit == "1":
        words.append("ratio")
    return "_".join(words)


def has(attribute: str, value: str = "", *, is_not: bool = False) -> str:
    """Return the matcher of an attribute's value; without one, that it has any."""
    return f'{label(attribute)}{"!=" if is_not or not value else "="}"{value}"'


def of(metric: Metric, *matchers: str) -> str:
    """Return a selector of a metric's series."""
    return f"{series(metric)}{{{', '.join(matchers)}}}"
