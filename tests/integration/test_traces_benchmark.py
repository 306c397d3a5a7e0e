"""The benchmark of traces runs, and what it measured is as many spans as were promised."""

from __future__ import annotations

import re

from benchmarks import traces


def test_a_quick_run_sends_every_span() -> None:
    found = traces.measure(traces.QUICK_SPANS, 0.5)
    assert found.spans == traces.QUICK_SPANS
    assert found.cpu_seconds > 0
    assert found.seconds > 0


def test_what_was_measured_is_5000_spans_for_each_second_of_cpu_time() -> None:
    found = re.findall(r"([\d,]+) spans, of .*?: ([\d,]+) for each", traces.PAGE.read_text())
    assert len(found) == 2
    for spans, rate in found:
        assert int(spans.replace(",", "")) == traces.SPANS
        assert int(rate.replace(",", "")) >= 5_000
