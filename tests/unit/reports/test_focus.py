"""FOCUS rows: their sums, the rules of the specification, and both kinds of files."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.reports.making import BOOK, DAY, HOUR, NOON, an_event, with_amount
from tollspan.reports import (
    COLUMNS,
    FocusRow,
    FocusSettings,
    Grain,
    focus_rows,
    write_csv,
    write_parquet,
)
from tollspan.usage import Attribution, Usage, UsageEvent

PARQUET: Any = import_module("pyarrow.parquet")  # without types
# FinOps Open Cost and Usage Specification 1.2: columns of the feature level "Mandatory".
MANDATORY = {
    "BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency", "BillingPeriodEnd",
    "BillingPeriodStart", "ChargeCategory", "ChargeClass", "ChargeDescription", "ChargePeriodEnd",
    "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost",
    "PricingQuantity", "PricingUnit", "ProviderName", "PublisherName", "ServiceCategory",
    "ServiceName",
}  # fmt: skip
counts = st.integers(0, 300_000)
events_lists = st.lists(
    st.builds(
        lambda usage, model, customer, at: an_event(
            usage, model=model, at=NOON + at, owner=Attribution(customer=customer)
        ),
        st.builds(Usage, input_uncached=counts, cache_read=counts, output=counts),
        st.sampled_from(["gpt-4o-mini", "gpt-5.5", "nobody-knows-it"]),
        st.sampled_from([None, "acme", "=cmd()"]),
        st.integers(0, 3 * DAY),
    ),
    max_size=12,
)
grains = st.sampled_from(["call", "hour", "day"])


def rows_of(*events: UsageEvent, grain: Grain = "day") -> list[FocusRow]:
    return list(focus_rows(events, BOOK, FocusSettings(grain=grain)))


@given(events_lists, grains)
def test_rows_add_up_to_the_events_cost(events: list[UsageEvent], grain: Grain) -> None:
    rows = rows_of(*events, grain=grain)
    total = sum(event.cost.amount_nanousd or 0 for event in events)
    assert sum(row.BilledCost for row in rows) == Decimal(total).scaleb(-9)
    tokens = sum(
        event.usage.input_tokens + event.usage.output_tokens for event in events if event.usage
    )
    assert sum(row.ConsumedQuantity or 0 for row in rows) == tokens


@given(events_lists, grains)
def test_quantity_times_price_is_the_cost_as_the_specification_demands(
    events: list[UsageEvent], grain: Grain
) -> None:
    for row in rows_of(*events, grain=grain):
        if row.ContractedUnitPrice is not None and row.PricingQuantity is not None:
            assert row.ContractedUnitPrice * row.PricingQuantity == row.ContractedCost
            assert abs(row.ContractedCost - row.BilledCost) < len(events) * Decimal("1E-9")
        else:
            assert row.ContractedCost == row.BilledCost
        if row.ListUnitPrice is not None and row.PricingQuantity is not None:
            assert row.ListUnitPrice * row.PricingQuantity == row.ListCost


def test_every_mandatory_column_is_there_and_own_ones_begin_with_x() -> None:
    names = [name for name, _ in COLUMNS]
    assert set(names) >= MANDATORY
    assert all(name[0].isupper() or name.startswith("x_") for name in names)


def test_a_day_has_one_row_for_each_class_of_tokens() -> None:
    usage = Usage(input_uncached=1_000, cache_read=500, output=200)
    rows = rows_of(an_event(usage, number=1), an_event(usage, number=2, at=NOON + HOUR))
    assert [(row.SkuMeter, row.ConsumedQuantity, row.BilledCost) for row in rows] == [
        ("Input Tokens", Decimal(2_000), Decimal("0.0003")),
        ("Cached Input Tokens", Decimal(1_000), Decimal("0.000075")),
        ("Output Tokens", Decimal(400), Decimal("0.00024")),
    ]
    first = rows[0]
    assert (first.ConsumedUnit, first.PricingUnit) == ("Tokens", "1000000 Tokens")
    assert (first.PricingQuantity, first.ContractedUnitPrice) == (Decimal("0.002"), Decimal("0.15"))
    assert first.ChargePeriodStart == datetime(2026, 11, 22, tzinfo=UTC)
    assert first.ChargePeriodEnd == datetime(2026, 11, 23, tzinfo=UTC)
    assert first.BillingPeriodStart == datetime(2026, 11, 1, tzinfo=UTC)
    assert first.BillingPeriodEnd == datetime(2026, 12, 1, tzinfo=UTC)
    assert json.loads(first.SkuPriceDetails)["x_ModelDeveloper"] == "OpenAI"
    assert json.loads(first.Tags) == {"customer": "acme"}


def test_each_call_has_rows_of_its_own_where_that_is_asked_for() -> None:
    usage = Usage(output=2)
    rows = rows_of(an_event(usage, number=1), an_event(usage, number=2), grain="call")
    assert [row.x_CallId for row in rows] == [f"{1:032x}", f"{2:032x}"]


def test_what_is_not_known_costs_nothing_and_says_that_it_is_not_known() -> None:
    (row,) = rows_of(an_event(Usage(output=2), model="nobody-knows-it"))
    assert (row.BilledCost, row.x_CostBasis, row.x_CostStatus) == (
        Decimal(0), "unpriced", "unpriced"
    )  # fmt: skip
    assert "not known" in row.ChargeDescription


def test_a_reversal_is_a_correction() -> None:
    event = an_event(Usage(output=1_000_000))
    (row,) = rows_of(with_amount(event, -600_000_000))
    assert (row.ChargeClass, row.BilledCost) == ("Correction", Decimal("-0.6"))


def test_other_quantities_are_counted_in_their_own_units() -> None:
    usage = Usage(output=10, quantities=(("web_searches", 2),))
    row = next(row for row in rows_of(an_event(usage)) if row.x_TokenType == "web_searches")
    assert (row.ConsumedUnit, row.PricingUnit) == ("Web Searches", "Web Searches")
    assert (row.SkuMeter, row.ConsumedQuantity) == ("Web Searches", Decimal(2))


def test_a_csv_has_plain_decimals_and_times_and_nothing_that_a_spreadsheet_runs() -> None:
    event = an_event(Usage(output=1), owner=Attribution(customer="=cmd()"))
    file = io.StringIO(newline="")
    assert write_csv(rows_of(event), file) == 1
    (row,) = csv.DictReader(io.StringIO(file.getvalue(), newline=""))
    assert row["BilledCost"] == "0.000000600"
    assert row["ChargePeriodStart"] == "2026-11-22T00:00:00Z"
    assert row["x_CustomerId"] == "'=cmd()"
    assert row["ChargeClass"] == ""


@given(events_lists)
def test_parquet_holds_the_same_exact_decimals(events: list[UsageEvent]) -> None:
    rows = rows_of(*events)
    file = io.BytesIO()
    assert write_parquet(rows, file) == len(rows)
    table = PARQUET.read_table(io.BytesIO(file.getvalue()))
    assert table.column_names == [name for name, _ in COLUMNS]
    assert str(table.schema.field("BilledCost").type) == "decimal128(38, 18)"
    for name in ("BilledCost", "ContractedUnitPrice", "PricingQuantity", "Tags"):
        assert table.column(name).to_pylist() == [getattr(row, name) for row in rows]


def test_only_one_day_is_kept_at_a_time() -> None:
    taken = 0

    def many() -> object:
        nonlocal taken
        for number in range(10):
            taken += 1
            yield an_event(Usage(output=1), at=NOON + number * DAY)

    rows = focus_rows(many(), BOOK, FocusSettings())  # type: ignore[arg-type] # a generator
    next(rows)
    assert taken == 2
