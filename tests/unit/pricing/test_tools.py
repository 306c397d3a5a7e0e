"""What tools cost: by the call, by units of any name, by the operator or by the code."""

from __future__ import annotations

import pytest

from tollspan.pricing import PriceBook, parse_overrides
from tollspan.usage import ConfigError, Quantities, Request, Response, Usage, parse_usd

NOW = 1_795_348_800_000_000_000  # 2026-11-22, noon
DAY = 86_400_000_000_000
PRICES = """
version: 1
tools:
  search: 0.25 USD
  ocr: {usd_each: {pages: 0.0000000015}}
  both: {usd_each: {tool_calls: 0.1, credits: 0.01}}
  "crm_*": 0
  dated:
    - {usd_each: {tool_calls: 1}, before: 2026-11-23}
    - {usd_each: {tool_calls: 2}, from: 2026-11-23}
aliases: {tool/lookup: tool/search}
reserves: {credits: 5}
"""
ONCE = (("tool_calls", 1),)


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.load(None, parse_overrides(PRICES))


def ask(
    name: str,
    quantities: Quantities = ONCE,
    *,
    declared: Quantities = (),
    unlimited: tuple[str, ...] = (),
) -> Request:
    return Request(
        provider="tool",
        operation="execute_tool",
        model=name,
        quantities=quantities,
        declared=declared,
        unlimited=unlimited,
    )


@pytest.mark.parametrize(
    ("request_", "used", "status", "nanousd", "missing"),
    [
        pytest.param(ask("search"), ONCE, "priced", 250_000_000, (), id="flat"),
        pytest.param(ask("SEARCH"), ONCE, "priced", 250_000_000, (), id="in any case"),
        pytest.param(ask("lookup"), ONCE, "priced", 250_000_000, (), id="by another name"),
        pytest.param(ask("crm_find"), ONCE, "priced", 0, (), id="by its beginning"),
        pytest.param(ask("new"), ONCE, "unpriced", None, ("tool_calls",), id="no price"),
        pytest.param(
            ask("ocr"), (("pages", 3), *ONCE), "priced", 4, (), id="units, rounded half to even"
        ),
        pytest.param(
            ask("both"), (("credits", 2), *ONCE), "priced", 120_000_000, (), id="both prices"
        ),
        pytest.param(ask("both"), (("credits", 2),), "priced", 20_000_000, (), id="a report"),
        pytest.param(
            ask("both"), ONCE, "partial", 100_000_000, ("credits",), id="nobody said the units"
        ),
        pytest.param(ask("ocr"), ONCE, "unknown", None, (), id="nobody said the only units"),
        pytest.param(
            ask("search"), (("pages", 1), *ONCE), "partial", 250_000_000, ("pages",), id="no unit"
        ),
        pytest.param(
            ask("search"), (("pages", 1),), "unpriced", None, ("pages",), id="a report of no price"
        ),
        pytest.param(
            ask("new", declared=(("tool_calls", 10**9),)), ONCE, "priced", 1_000_000, (), id="code"
        ),
        pytest.param(
            ask("search", declared=(("tool_calls", 1),)),
            ONCE, "priced", 250_000_000, (), id="the operator's before the code's",
        ),
        pytest.param(
            ask("search", declared=(("pages", 10**9),)),
            (("pages", 2), *ONCE), "priced", 252_000_000, (), id="each unit by itself",
        ),
    ],
)  # fmt: skip
def test_tools_cost_what_their_prices_say(
    book: PriceBook,
    request_: Request,
    used: Quantities,
    status: str,
    nanousd: int | None,
    missing: tuple[str, ...],
) -> None:
    usage = Usage(quantities=used)
    for ceiling in (False, True):
        cost = book.rate(request_, Response(), usage, NOW, ceiling=ceiling)
        assert (cost.status, cost.amount_nanousd, cost.unpriced_units) == (status, nanousd, missing)
        assert cost.book_id == book.book_id
        assert book.explain(request_, Response(), usage, NOW, ceiling=ceiling)[0] == cost


@pytest.mark.parametrize(
    ("request_", "nanousd", "reasons"),
    [
        pytest.param(ask("search"), 250_000_000, (), id="flat"),
        pytest.param(ask("new"), None, ("unpriced",), id="no price"),
        pytest.param(ask("ocr", (("pages", 3), *ONCE)), 5, (), id="units, rounded up"),
        pytest.param(ask("ocr"), None, ("no_limit:pages",), id="units that nothing limits"),
        pytest.param(ask("both"), 150_000_000, ("reserve:credits",), id="a reserve"),
        pytest.param(
            ask("both", unlimited=("credits",)), 150_000_000, ("reserve:credits",), id="said to be"
        ),
        pytest.param(
            ask("both", (("credits", 7), *ONCE)), 170_000_000, (), id="a limit beats a reserve"
        ),
        pytest.param(ask("both", (("credits", 7),)), 70_000_000, (), id="a report is exact"),
        pytest.param(
            ask("search", unlimited=("words",)),
            250_000_000,
            ("unpriced:words",),
            id="without a price nothing is unlimited",
        ),
    ],
)
def test_tools_are_bounded_by_what_limits_them(
    book: PriceBook, request_: Request, nanousd: int | None, reasons: tuple[str, ...]
) -> None:
    for ceiling in (False, True):
        bound = book.bound(request_, NOW, ceiling=ceiling)
        assert (bound.amount_nanousd, bound.reasons) == (nanousd, reasons)


def test_a_tools_price_holds_from_its_day_on(book: PriceBook) -> None:
    days = [NOW, NOW + 2 * DAY, NOW]
    costs = [book.rate(ask("dated"), Response(), Usage(quantities=ONCE), at) for at in days]
    assert [cost.amount_nanousd for cost in costs] == [10**9, 2 * 10**9, 10**9]
    assert [book.bound(ask("dated"), at).amount_nanousd for at in days] == [
        10**9, 2 * 10**9, 10**9,
    ]  # fmt: skip


def test_costs_name_the_rows_that_made_them(book: PriceBook) -> None:
    request = ask("search", declared=(("pages", 10**9),))
    usage = Usage(quantities=(("pages", 1), *ONCE))
    cost = book.rate(request, Response(), usage, NOW)
    assert cost.row_ids == ("code:tool/search:pages", "own:tool/search:standard@")
    assert (cost.matched_key, cost.matched_by) == ("search", "override")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("tools: {a: {usd_each: {Pages: 1}}}", "`Pages` is no unit", id="case"),
        pytest.param("tools: {a: {usd_each: {output: 1}}}", "`output` is no unit", id="tokens"),
        pytest.param(
            "tools: {a: {usd_per_million: {input: 1}}}", "usd_per_million", id="prices of tokens"
        ),
        pytest.param("tools: {a: {}}", "says nothing; give it `usd_each`", id="nothing"),
        pytest.param("tools: {a: -1}", "expected an amount in USD", id="negative"),
        pytest.param("models: {a/b: {usd_each: {credits: 1}}}", "unknown unit", id="of a model"),
        pytest.param("reserves: {credits: 1}", "unknown unit `credits`", id="of no tool"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        parse_overrides(f"version: 1\n{text}", source="p")
    assert str(error.value).startswith("p:2: ")


def test_a_decimal_of_many_digits_is_not_rounded() -> None:
    with pytest.raises(ValueError, match="at most 12 decimals"):
        parse_usd("0.1234567890123456789012345678901234567890")
    assert str(parse_usd("0.123456789012 USD")) == "0.123456789012"
