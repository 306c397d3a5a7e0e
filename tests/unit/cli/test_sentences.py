"""Rules said in sentences."""

from __future__ import annotations

import pytest

from tollspan.budget import parse_rules
from tollspan.cli import _sentences


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ("limit: 1 USD, window: quarter", "at most 1.00 USD in each quarter of a year (UTC);"),
        ("limit: 1 USD, window: year", "at most 1.00 USD in each calendar year (UTC);"),
        (
            "limit: 1 USD, window: {every: month, anchor: 2026-01-31, timezone: Asia/Tokyo}",
            "at most 1.00 USD in each month, of which one begins on 2026-01-31 (Asia/Tokyo);",
        ),
        (
            "limit: 1 call, window: {every: 14 days, anchor: 2026-11-14}",
            "at most 1 call in each 14 days, of which one begins on 2026-11-14 (UTC);",
        ),
    ],
)
def test_a_budget_is_said_in_a_sentence(budget: str, says: str) -> None:
    (found,) = parse_rules(f"version: 1\nbudgets: [{{id: a, {budget}}}]").budgets
    assert _sentences.sentence(found).startswith(f"a: {says}")
