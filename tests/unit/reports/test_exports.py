"""Bills of providers: what is read of them, what is refused, and what differs from our sums."""

from __future__ import annotations

import contextlib
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.reports import (
    BilledLine,
    CountedSum,
    ExportFormat,
    model_key,
    read_export,
    reconcile,
)
from tollspan.usage import ConfigError

# Made up, in the columns of the providers' own exports (2026).
OPENAI = """\
start_time,end_time,start_time_iso,end_time_iso,amount_value,amount_currency,line_item,project_id,organization_id,organization_name
1763769600,1763856000,2026-11-22T00:00:00+00:00,2026-11-23T00:00:00+00:00,0.0000045000000000000000000000,usd,"gpt-4o-mini-2024-07-18, input",proj_x,org-x,Us
1763769600,1763856000,2026-11-22T00:00:00+00:00,2026-11-23T00:00:00+00:00,0.0000342,usd,"gpt-4o-mini-2024-07-18, output",proj_x,org-x,Us
1763769600,1763856000,2026-11-22T00:00:00+00:00,2026-11-23T00:00:00+00:00,0E-6176,usd,"evals | gpt-4o-2024-08-06, cached input",proj_x,org-x,Us
1763769600,1763856000,2026-11-22T00:00:00+00:00,2026-11-23T00:00:00+00:00,0.02,usd,web search tool calls,proj_x,org-x,Us
1763769600,1763856000,2026-11-22T00:00:00+00:00,2026-11-23T00:00:00+00:00,0.5,usd,"gpt-audio-mini-2025-12-15 audio, output",proj_x,org-x,Us
1763856000,1763942400,2026-11-23T00:00:00+00:00,2026-11-24T00:00:00+00:00,,,,,,
"""  # noqa: E501
ANTHROPIC = """\
usage_date_utc,model,workspace,api_key,usage_type,context_window,token_type,cost_usd,list_price_usd,cost_type,inference_geo,speed
2026-11-22,Claude Haiku 4.5,Default,key,message,≤ 200k,input_no_cache,0.05,0.05,token,not_available,
2026-11-22,Claude Haiku 4.5,Default,key,message,≤ 200k,output,0.02,0.02,token,not_available,
2026-11-22,,Default,key,,,,0.03,0.03,web_search,not_available,
"""
AWS = """\
lineItem/UsageStartDate,lineItem/LineItemType,lineItem/ProductCode,lineItem/UsageType,lineItem/UnblendedCost,lineItem/CurrencyCode,product/ProductName
2026-11-22T03:00:00Z,Usage,AmazonBedrock,USE1-Claude4.5Haiku-input-tokens-cross-region-global,0.0100000000,USD,Amazon Bedrock
2026-11-22T04:00:00Z,Usage,AmazonBedrock,USE1-anthropic.claude-opus-5-mantle-cache-read-tokens-global-standard,0.002,USD,Amazon Bedrock
2026-11-22T04:00:00Z,Usage,3kx9,USW2-MP:USW2_InputTokenCount-Units,0.3,USD,Claude Sonnet 4.5 (Amazon Bedrock Edition)
2026-11-22T04:00:00Z,Usage,AmazonEC2,USE1-BoxUsage:t3.micro,9,USD,Amazon EC2
2026-11-22T04:00:00Z,Tax,AmazonBedrock,USE1-Claude4.5Haiku-input-tokens,7,USD,Amazon Bedrock
"""  # noqa: E501


def lines_of(text: str, form: ExportFormat) -> list[tuple[str, str, Decimal]]:
    found = read_export(io.StringIO(text, newline=""), form, source="bill.csv")
    return [(line.day, line.model, line.amount_usd) for line in found]


def test_openais_export_is_read_to_the_last_digit() -> None:
    day = "2026-11-22"
    assert lines_of(OPENAI, "openai") == [
        (day, "gpt-4o-mini-2024-07-18", Decimal("0.0000045")),
        (day, "gpt-4o-mini-2024-07-18", Decimal("0.0000342")),
        (day, "gpt-4o-2024-08-06", Decimal(0)),
        (day, "", Decimal("0.02")),
        (day, "gpt-audio-mini-2025-12-15", Decimal("0.5")),
    ]


def test_anthropics_export_is_read() -> None:
    assert lines_of(ANTHROPIC, "anthropic") == [
        ("2026-11-22", "Claude Haiku 4.5", Decimal("0.05")),
        ("2026-11-22", "Claude Haiku 4.5", Decimal("0.02")),
        ("2026-11-22", "", Decimal("0.03")),
    ]


def test_of_a_cost_and_usage_report_bedrocks_usage_alone_is_read() -> None:
    expected = [
        ("2026-11-22", "Claude4.5Haiku", Decimal("0.01")),
        ("2026-11-22", "anthropic.claude-opus-5", Decimal("0.002")),
        ("2026-11-22", "Claude Sonnet 4.5", Decimal("0.3")),
    ]
    assert lines_of(AWS, "aws") == expected
    head, _, rows = AWS.partition("\n")
    newer = (
        head.replace("lineItem/", "line_item_").replace("product/", "product_")
        .replace("UsageStartDate", "usage_start_date").replace("LineItemType", "line_item_type")
        .replace("ProductCode", "product_code").replace("UsageType", "usage_type")
        .replace("UnblendedCost", "unblended_cost").replace("CurrencyCode", "currency_code")
        .replace("ProductName", "product_name")
    )  # fmt: skip
    assert lines_of(f"{newer}\n{rows}", "aws") == expected


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        pytest.param("a,b\n1,2\n", "openai", ":1: has no column start_time_iso", id="other"),
        pytest.param("", "anthropic", "its columns are none", id="empty"),
        pytest.param(
            "usage_date_utc,model,cost_usd\n2026-11-22,x,1.0\nAugust,x,1\n", "anthropic",
            "bill.csv:3: usage_date_utc is 'August'; expected a date", id="date",
        ),
        pytest.param(
            "usage_date_utc,model,cost_usd\n2026-11-22,x,much\n", "anthropic",
            "bill.csv:2: cost_usd is 'much'; expected an amount", id="amount",
        ),
        pytest.param(
            "usage_date_utc,model,cost_usd\n2026-11-22,x\n", "anthropic",
            "bill.csv:2: has 2 fields; expected 3", id="fields",
        ),
        pytest.param(
            "start_time_iso,amount_value,amount_currency\n2026-11-22,1,eur\n", "openai",
            "bill.csv:2: amount_currency is 'eur'; expected USD", id="currency",
        ),
        pytest.param(
            "usage_date_utc,model,cost_usd,cost_usd\n", "anthropic",
            "has the column cost_usd twice", id="twice",
        ),
        pytest.param(
            'usage_date_utc,model,cost_usd\n2026-11-22,"x,1\n', "anthropic",
            "bill.csv:2: is no CSV", id="quotes",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(text: str, form: ExportFormat, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        lines_of(text, form)
    assert said in str(caught.value)


@given(st.text(max_size=400), st.sampled_from(["openai", "anthropic", "aws"]))
def test_no_file_makes_anything_but_lines_or_an_error(text: str, form: ExportFormat) -> None:
    for start in ("", "usage_date_utc,model,cost_usd\n", "start_time_iso,amount_value\n"):
        with contextlib.suppress(ConfigError):
            lines_of(start + text, form)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("Claude Haiku 4.5", "us.anthropic.claude-haiku-4-5-20251001-v1:0"),
        ("Claude4.5Haiku", "claude-haiku-4-5-20251001"),
        ("Claude3.5Sonnet", "anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("Nova2.0Lite", "amazon.nova-2-lite-v1:0"),
        ("ft-gpt-4o-2024-08-06", "ft:gpt-4o-2024-08-06:org::abc"),
        ("openai/gpt-5.2", "gpt-5.2"),
    ],
)
def test_spellings_of_one_model_meet(one: str, other: str) -> None:
    assert model_key(one) == model_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("anthropic.claude-3-sonnet-20240229-v1:0", "Claude3.5Sonnet"),
        ("gpt-4o", "gpt-4o-mini"),
        ("claude-opus-5", "claude-sonnet-5"),
        ("gpt-5", "gpt-5.2"),
        ("ft:gpt-4o:org::abc", "gpt-4o"),
    ],
)
def test_models_of_other_prices_do_not(one: str, other: str) -> None:
    assert model_key(one) != model_key(other)


def a_line(model: str, usd: str, day: str = "2026-11-22") -> BilledLine:
    return BilledLine(line=2, day=day, model=model, what="", amount_usd=Decimal(usd))


def a_sum(model: str, nanousd: int, day: str = "2026-11-22", **more: int) -> CountedSum:
    return CountedSum(day=day, model=model, calls=1, cost_nanousd=nanousd, **more)


def test_differences_are_exact_by_day_and_model() -> None:
    found = reconcile(
        [a_line("gpt-4o-mini-2024-07-18", "0.0000045000000001"), a_line("", "0.02")],
        [a_sum("gpt-4o-mini", 4_500), a_sum("o3", 7), a_sum("o3", 9, day="2026-11-21")],
    )
    assert [(one.model, one.billed_usd, one.counted_nanousd, one.difference_usd) for one in found] \
        == [
        ("", Decimal("0.02"), None, Decimal("0.02")),
        ("o3", None, 7, Decimal("-0.000000007")),
        ("gpt-4o-mini", Decimal("0.0000045000000001"), 4_500, Decimal("1E-16")),
    ]  # fmt: skip


def test_a_bill_without_models_is_compared_day_by_day() -> None:
    found = reconcile(
        [a_line("", "1"), a_line("", "2", day="2026-11-23")],
        [a_sum("gpt-4o", 10**9), a_sum("o3", 5, unpriced=1), a_sum("o3", 2 * 10**9, "2026-11-23")],
    )
    assert [(one.day, one.difference_usd, one.unpriced) for one in found] == [
        ("2026-11-22", Decimal("-5E-9"), 1),
        ("2026-11-23", Decimal(0), 0),
    ]


def test_what_words_alone_do_not_tell_can_be_said() -> None:
    found = reconcile(
        [a_line("TitanEmbeddingV2-Text", "1")],
        [a_sum("amazon.titan-embed-text-v2:0", 10**9)],
        aliases={"TitanEmbeddingV2-Text": "amazon.titan-embed-text-v2:0"},
    )
    assert [one.difference_usd for one in found] == [0]


amounts = st.integers(-(10**15), 10**15)
days = st.sampled_from(["2026-11-21", "2026-11-22"])
some_models = st.sampled_from(["gpt-4o", "gpt-4o-2024-08-06", "o3", ""])


@given(
    st.lists(st.tuples(some_models, amounts, days), min_size=1, max_size=9),
    st.lists(st.tuples(some_models, amounts, days), max_size=9),
)
def test_differences_add_up_to_the_difference_of_the_totals(
    bill: list[tuple[str, int, str]], ours: list[tuple[str, int, str]]
) -> None:
    lines = [
        BilledLine(line=2, day=day, model=model, what="", amount_usd=Decimal(n).scaleb(-18))
        for model, n, day in bill
    ]
    sums = [a_sum(model, n, day) for model, n, day in ours]
    found = reconcile(lines, sums)
    billed_days = {day for _, _, day in bill}
    total = sum((Decimal(n).scaleb(-18) for _, n, _ in bill), Decimal(0))
    total -= sum(Decimal(n).scaleb(-9) for _, n, day in ours if day in billed_days)
    assert sum(one.difference_usd for one in found) == total
