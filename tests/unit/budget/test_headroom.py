"""How budgets stand, which of them ends first, and how much output still fits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import (
    Account,
    Balance,
    Budget,
    Headroom,
    Leg,
    Window,
    headroom_of,
    most_output,
    parse_limit,
    tightest,
)
from tollspan.usage import BLOCK_PERIOD, BudgetUnit, ConfigError

NOON_UNIX_NS = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z


def headroom(rule_id: str, unit: BudgetUnit, limit: int, spent: int) -> Headroom:
    return Headroom(rule_id=rule_id, unit=unit, limit=limit, spent=spent, held=0)


def test_a_standing_says_what_is_left_and_until_when() -> None:
    account = Account(budget_id="b", scope='{"user":"u"}', period="2026-11", limit=10)
    balance = Balance(account=account, posted=3, held=2, unresolved=1)
    found = headroom_of(
        balance, Budget(id="b", limit=10, window=Window(every="month")), NOON_UNIX_NS
    )
    assert (found.spent, found.held, found.remaining) == (3, 3, 4)
    assert found.scope == (("user", "u"),)
    assert found.resets_at == datetime(2026, 12, 1, tzinfo=UTC)
    assert found.share == Fraction(2, 5)


def test_a_billing_period_ends_when_its_key_says() -> None:
    account = Account(budget_id="b", scope="", period="2026-11-14/2026-12-14", limit=10)
    window = Window(every="month", anchor=date(2026, 1, 3))
    found = headroom_of(
        Balance(account=account), Budget(id="b", limit=10, window=window), NOON_UNIX_NS
    )
    assert found.resets_at == datetime(2026, 12, 14, tzinfo=UTC)


def test_a_block_has_no_window_whatever_the_documents_budget_of_its_name_has() -> None:
    account = Account(budget_id="b", scope="", period=BLOCK_PERIOD, limit=0)
    found = headroom_of(
        Balance(account=account, posted=5),
        Budget(id="b", limit=1, window=Window(every="day")),
        NOON_UNIX_NS,
    )
    assert found.resets_at is None
    assert (found.remaining, found.share) == (0, Fraction(0))


def test_the_least_amount_of_a_unit_and_the_least_share_of_units_ends_first() -> None:
    large = headroom("large", "usd", 1_000, 900)
    small = headroom("small", "usd", 80, 0)
    tokens = headroom("tokens", "tokens", 1_000, 950)
    assert tightest([large, small]) is small
    assert tightest([large, small, tokens]) is tokens
    assert tightest([]) is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 5), st.integers(0, 1)
        ),
        min_size=1,
        max_size=3,
    ),
    st.integers(0, 300_000),
)
def test_the_most_output_is_the_last_that_fits(
    budgets: list[tuple[int, int, int, int]], model_most: int
) -> None:
    """Of each budget: its limit, what a call without output asks, and a token's price, halved."""
    balances = [
        Balance(account=Account(budget_id=f"b{at}", scope="", period="", limit=limit))
        for at, (limit, *_) in enumerate(budgets)
    ]

    def ask(tokens: int) -> Sequence[Leg]:
        return [
            (balance.account, base + (tokens * price + rest) // 2)
            for balance, (_, base, price, rest) in zip(balances, budgets, strict=True)
        ]

    def fits(tokens: int) -> bool:
        legs = ask(tokens)
        return all(one.fits(asked) for one, (_, asked) in zip(balances, legs, strict=True))

    found = most_output({one.account: one for one in balances}, ask, model_most)
    assert found is not None
    assert found == 0 or fits(found)
    assert found == model_most or not fits(found + 1)


def test_without_a_most_of_the_model_only_a_budget_limits_output() -> None:
    account = Account(budget_id="b", scope="", period="", limit=10)
    stood = {account: Balance(account=account)}
    assert most_output(stood, lambda _: [(account, 1)], None) is None
    assert most_output(stood, lambda asked: [(account, asked)], None) == 10
    assert most_output(stood, lambda _: None, 100) == 0
    assert most_output(stood, lambda _: [], None) is None


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("0.50 USD", (500_000_000, "usd")),
        ("50000 tokens", (50_000, "tokens")),
        ("1 call", (1, "calls")),
        ("0 USD", (0, "usd")),
    ],
)
def test_a_limit_in_code_is_read_as_in_the_document(text: str, limit: tuple[int, str]) -> None:
    assert parse_limit(text, source="budget('t')") == limit


@pytest.mark.parametrize("text", ["5", "5 EUR", "-1 USD", "", "many tokens"])
def test_a_wrong_limit_in_code_names_who_said_it_and_no_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^budget\('t'\): `limit` is ") as error:
        parse_limit(text, source="budget('t')")
    assert ":1:" not in str(error.value)
