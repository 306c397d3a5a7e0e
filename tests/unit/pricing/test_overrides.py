"""The operator's own prices: what `prices.yaml` may say, what it changes, and what it can't say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tollspan.pricing import Overrides, PriceBook, parse_overrides, read_overrides
from tollspan.usage import ConfigError, Cost, Request, Response, Usage

NOW = 1_795_348_800_000_000_000  # 2026-11-22T12:00:00Z
DAY = 86_400 * 1_000_000_000
USED = Usage(input_uncached=1_000, output=100)

OWN = """\
version: 1
models:
  openai/gpt-4o:
    usd_per_million: {input: 2.00, cache_read: 1.00, output: 8.00}
  openai/ft:gpt-4o-mini-2024-07-18:acme:*:
    - usd_per_million: {input: 0.30, output: 1.20}
      before: 2026-12-01
    - usd_per_million: {input: 0.20, output: 1.00}
      from: 2026-12-01
  openai/gpt-5.5:
    - usd_each: {web_searches: 0.008}
    - {usd_per_million: {input: 4, output: 20}, region: eu}
    - {usd_per_million: {input: 3, output: 15}, above_input_tokens: 1_000, tier: batch}
    - {usd_per_million: {input: 2, output: 10}, tier: batch}
  vllm/llama-70b:
    usd_per_million: {input: 0.10, output: 0.40}
    context_window: 131072
    max_output_tokens: 8192
  gateway/any:
    usd_per_million: {input: 1, output: 1}
    settle: reported
aliases:
  openai/assistant: openai/gpt-4.1
  openai/helper-*: {model: openai/gpt-5.5, region: us}
deployments:
  my-gpt4: {model: gpt-4o-2024-08-06, region: eu}
tools:
  search_flights: 0.01 USD
  free_tool: 0
fees:
  openai: {code_sessions: 0.02}
reserves: {web_searches: 3, input_tokens: 200000, storage_searches: none}
"""


@pytest.fixture(scope="module")
def own() -> PriceBook:
    return PriceBook.load(None, parse_overrides(OWN))


def rate(
    book: PriceBook, name: str, usage: Usage = USED, said: Response | None = None, at: int = NOW,
    **rest: object,
) -> Cost:  # fmt: skip
    provider, _, model = name.partition("/")
    request = Request(provider=provider, operation="chat", model=model, **rest)  # type: ignore[arg-type]  # a test's shorthand
    costs = [book.rate(request, said or Response(), usage, at) for _ in range(2)]
    assert costs[0] == costs[1]
    return costs[0]


@pytest.mark.parametrize(
    ("name", "nanousd", "key", "rule"),
    [
        pytest.param("openai/gpt-4o", 2_800_000, "gpt-4o", "override", id="negotiated"),
        pytest.param(
            "openai/gpt-4o-2024-11-20", 2_800_000, "gpt-4o", "alias", id="under another name"
        ),
        pytest.param(
            "openai/gpt-4o-2024-05-13",
            6_500_000,
            "gpt-4o-2024-05-13",
            "exact",
            id="another model of that family keeps its price",
        ),
        pytest.param("vllm/llama-70b", 140_000, "llama-70b", "override", id="a host of one's own"),
        pytest.param("openai/assistant", 2_800_000, "gpt-4.1", "operator", id="an alias"),
        pytest.param("openai/Assistant ", 2_800_000, "gpt-4.1", "operator", id="however written"),
        pytest.param("openai/helper-7", 8_800_000, "gpt-5.5", "operator", id="by its beginning"),
        pytest.param("azure/my-gpt4", 3_850_000, "gpt-4o-2024-08-06", "operator", id="deployment"),
        pytest.param(
            "openai/ft:gpt-4o-mini-2024-07-18:acme:bot:a1",
            420_000,
            "ft:gpt-4o-mini-2024-07-18:acme:*",
            "override",
            id="one's fine-tunes",
        ),
    ],
)
def test_the_operators_prices_come_first(
    own: PriceBook, name: str, nanousd: int, key: str, rule: str
) -> None:
    cost = rate(own, name)
    assert (cost.status, cost.amount_nanousd) == ("priced", nanousd)
    assert (cost.matched_key, cost.matched_by) == (key, rule)


def test_costs_name_the_operators_rows_and_his_file(own: PriceBook, book: PriceBook) -> None:
    cost = rate(own, "openai/gpt-4o")
    assert cost.row_ids == ("own:openai/gpt-4o:standard@",)
    digest = parse_overrides(OWN).sha256[:12]
    assert cost.book_id == own.book_id == f"{book.book_id}+{digest}"


def test_a_price_holds_from_its_day_on(own: PriceBook) -> None:
    name = "openai/ft:gpt-4o-mini-2024-07-18:acme:bot:a1"
    december = NOW + 9 * DAY
    amounts = [rate(own, name, at=at).amount_nanousd for at in (NOW, december, NOW)]
    assert amounts == [420_000, 300_000, 420_000]


def test_a_price_for_one_unit_leaves_the_tokens_to_the_book(own: PriceBook) -> None:
    usage = Usage(input_uncached=1_000, quantities=(("storage_searches", 1), ("web_searches", 1)))
    cost = rate(own, "openai/gpt-5.5", usage)
    assert cost.amount_nanousd == 5_000_000 + 8_000_000 + 2_500_000
    assert rate(own, "openai/gpt-5.5", usage, service_tier="flex").amount_nanousd == (
        2_500_000 + 8_000_000 + 2_500_000
    )


def test_a_price_for_one_region_has_its_surcharge_in_it(own: PriceBook) -> None:
    assert rate(own, "openai/gpt-5.5", region="eu").amount_nanousd == 4_000_000 + 2_000_000
    assert rate(own, "openai/gpt-5.5", region="us").amount_nanousd == 5_500_000 + 3_300_000
    assert rate(own, "openai/gpt-5.5").amount_nanousd == 5_000_000 + 3_000_000


def test_tiers_and_contexts_may_be_told_apart(own: PriceBook) -> None:
    name, batch = "openai/gpt-5.5", Response(service_tier="batch")
    assert rate(own, name, Usage(input_uncached=1_000), batch).amount_nanousd == 2_000_000
    assert rate(own, name, Usage(input_uncached=1_001), batch).amount_nanousd == 3_003_000


def test_a_price_for_long_contexts_alone_leaves_short_ones_to_the_book() -> None:
    text = """
    version: 1
    models:
      openai/gpt-4o:
        - {usd_per_million: {input: 9}, above_input_tokens: 1_000}
        - {usd_each: {web_searches: 1}}
    """
    book = PriceBook.load(None, parse_overrides(text))
    assert rate(book, "openai/gpt-4o", Usage(input_uncached=1_000)).amount_nanousd == 2_500_000
    assert rate(book, "openai/gpt-4o", Usage(input_uncached=1_001)).amount_nanousd == 9_009_000
    search = Usage(input_uncached=1_000, quantities=(("web_searches", 1),))
    assert rate(book, "openai/gpt-4o", search).amount_nanousd == 1_002_500_000


def test_the_region_of_a_deployment_counts_whatever_the_answer_names(own: PriceBook) -> None:
    """Azure answers with the model's name, and says nothing of where it ran."""
    cost = rate(own, "azure.ai.openai/my-gpt4", said=Response(model="gpt-4o-2024-08-06"))
    assert (cost.matched_by, cost.amount_nanousd) == ("exact", 3_850_000)


def test_a_price_for_what_was_asked_outweighs_what_the_answer_names(own: PriceBook) -> None:
    """A gateway's own name, and an answer that names the model behind it."""
    cost = rate(own, "vllm/llama-70b", said=Response(model="meta/llama-3.3"))
    assert (cost.matched_key, cost.amount_nanousd) == ("llama-70b", 140_000)
    text = "version: 1\nmodels: {openai/house: {usd_per_million: {input: 1, output: 1}}}"
    book = PriceBook.load(None, parse_overrides(text))
    cost = rate(book, "openai/house", said=Response(model="gpt-4.1"))
    assert (cost.matched_key, cost.amount_nanousd) == ("house", 1_100_000)


def test_tools_have_prices_by_their_names(own: PriceBook) -> None:
    once = Usage(quantities=(("tool_calls", 1),))
    assert rate(own, "tool/search_flights", once).amount_nanousd == 10_000_000
    assert rate(own, "tool/free_tool", once).amount_nanousd == 0
    assert rate(own, "tool/another", once).status == "unpriced"
    request = Request(
        provider="tool",
        operation="execute_tool",
        model="search_flights",
        quantities=(("tool_calls", 1),),
    )
    assert own.bound(request, NOW).amount_nanousd == 10_000_000


def test_a_fee_of_the_operator_replaces_the_providers(own: PriceBook) -> None:
    cost = rate(own, "openai/gpt-4.1", Usage(quantities=(("code_sessions", 2),)))
    assert (cost.amount_nanousd, cost.row_ids[-1]) == (40_000_000, "own:openai:code_sessions")


def test_a_row_may_let_the_reported_cost_settle(own: PriceBook) -> None:
    cost = rate(own, "gateway/any", Usage(output=1, reported_cost_picousd=5_000))
    assert (cost.amount_nanousd, cost.settled_by, cost.computed_nanousd) == (5, "reported", 1_000)


def test_reserves_bound_what_nothing_limits(own: PriceBook) -> None:
    request = Request(
        provider="openai",
        operation="chat",
        model="gpt-4.1",
        max_output_tokens=0,
        service_tier="default",
        unbounded=("server_tool",),
        unlimited=("web_searches",),
    )
    bound = own.bound(request, NOW)
    assert bound.reasons == ("reserve:input_tokens", "reserve:web_searches")
    assert bound.amount_nanousd == 200_000 * 2_000 + 3 * 10_000_000


def test_no_reserve_means_no_bound(own: PriceBook) -> None:
    request = Request(
        provider="openai",
        operation="chat",
        model="gpt-4.1",
        max_output_tokens=0,
        unlimited=("storage_searches",),
    )
    bound = own.bound(request, NOW)
    assert (bound.amount_nanousd, bound.reasons) == (None, ("no_limit:storage_searches",))


def test_limits_of_an_own_model_bound_it(own: PriceBook) -> None:
    request = Request(provider="vllm", operation="chat", model="llama-70b", input_bytes=976)
    bound = own.bound(request, NOW)
    assert (bound.amount_nanousd, bound.reasons) == (2_000 * 100 + 8_192 * 400, ("model_max",))


def test_nothing_of_the_operators_changes_what_he_does_not_name(
    own: PriceBook, book: PriceBook
) -> None:
    for name in ("openai/gpt-4.1", "anthropic/claude-opus-5", "deepseek/deepseek-v4-pro"):
        assert rate(own, name).amount_nanousd == rate(book, name).amount_nanousd


def test_a_file_is_read_and_hashed(tmp_path: Path) -> None:
    path = tmp_path / "prices.yaml"
    path.write_text(OWN)
    found = read_overrides(path)
    assert found.sha256 == parse_overrides(OWN).sha256
    assert found.source == str(path)
    assert isinstance(found, Overrides)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("", "p: is empty; it needs at least `version: 1`", id="empty"),
        pytest.param("{", "p:1: not YAML", id="no YAML"),
        pytest.param("models: {}", "p:1: `version` is missing; write `version: 1`", id="version"),
        pytest.param("version: 2", "p:1: `version` is '2'; expected 1", id="another version"),
        pytest.param("version: 1\nprices: {}", "p:2: unknown key `prices`", id="unknown key"),
        pytest.param(
            "version: 1\nmodels:\n  gpt-4o: {usd_per_million: {input: 1}}",
            "p:3: 'gpt-4o' is no provider and model; write `openai/gpt-4o`, say",
            id="no provider",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {inputs: 1}",
            "p:4: unknown kind of token `inputs`; known: input, cache_read",
            id="bucket",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_each: {searches_of_web: 1}",
            "p:4: unknown unit `searches_of_web`; known: web_searches",
            id="unit",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: cheap}",
            "p:4: `input` is 'cheap'; expected an amount in USD such as 2.50",
            id="no amount",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: -1}",
            "p:4: `input` is '-1'; expected an amount",
            id="negative",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: 2 EUR}",
            "expected an amount in USD",
            id="another currency",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: 0.0000000000001}",
            "p:4: `input` is '0.0000000000001'; at most 12 decimals are exact",
            id="too fine",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: 9999999999}",
            "the dearest is 1,000,000,000 USD",
            id="too dear",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: 1}\n    from: soon",
            "p:5: `from` is 'soon'; expected a day such as 2026-11-22",
            id="no day",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    from: 2026-02-01\n    before: 2026-02-01\n"
            "    usd_per_million: {input: 1}",
            "models.a/b: `from` is 2026-02-01, and not earlier than `before`, 2026-02-01",
            id="it never holds",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    - usd_per_million: {input: 1}\n"
            "    - usd_per_million: {input: 2}",
            "p:5: models.a/b: two entries hold for the same calls",
            id="ambiguous",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: 1}\n    tear: batch",
            "p:5: unknown key `tear` in models.a/b; known: usd_per_million",
            id="misspelt",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b:\n    usd_per_million: {input: 1}\n    settle: mine",
            "`settle` is 'mine'; expected one of book, reported",
            id="settle",
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b: {}", "p:3: models.a/b says nothing", id="says nothing"
        ),
        pytest.param(
            "version: 1\nmodels:\n  a/b: {usd_each: {images: 1}}\n  a/b: {usd_each: {images: 2}}",
            "p:4: `a/b` is written twice in models",
            id="twice",
        ),
        pytest.param(
            "version: 1\naliases:\n  a/b: c", "p:3: 'c' is no provider and model", id="alias"
        ),
        pytest.param(
            "version: 1\ndeployments:\n  d: {region: eu}",
            "p:3: deployments.d has no `model`",
            id="deployment",
        ),
        pytest.param(
            "version: 1\nreserves: {web_searches: lots}",
            "p:2: `web_searches` is 'lots'; expected a whole number, 0 or more",
            id="reserve",
        ),
        pytest.param("version: 1\ntools: [a]", "p:2: tools is no mapping", id="a list"),
    ],
)
def test_a_mistake_is_named_with_its_line_and_the_fix(text: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_overrides(text, source="p")
    assert complaint in str(caught.value)


def test_the_example_of_the_docs_is_in_order() -> None:
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "prices.md").read_text()
    (example,) = re.findall(r"```yaml\n(.+?)```", page, re.DOTALL)
    found = parse_overrides(example)
    book = PriceBook.load(None, found)
    assert rate(book, "ollama/qwen3:8b").amount_nanousd == 0
    assert rate(book, "azure/chat-eu").amount_nanousd == 3_850_000
    assert rate(book, "anthropic/claude-opus-5", region="us").amount_nanousd == 7_500_000


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: can't be read"):
        read_overrides(tmp_path / "none.yaml")
