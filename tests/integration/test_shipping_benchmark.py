"""The benchmark of shipping runs, and what it measured after an outage is fast enough."""

from __future__ import annotations

import re

from benchmarks import shipping


def test_a_quick_run_sends_every_event() -> None:
    found = shipping.measure(shipping.QUICK_EVENTS)
    assert found.events == shipping.QUICK_EVENTS
    assert found.cpu_seconds > 0
    assert found.seconds > 0


def test_what_was_measured_is_thousands_of_events_a_second() -> None:
    found = re.search(r"([\d,]+) events were sent in [\d.]+ s: ([\d,]+)", shipping.PAGE.read_text())
    assert found is not None
    events, rate = (int(one.replace(",", "")) for one in found.groups())
    assert events == shipping.EVENTS
    assert rate >= 5_000
