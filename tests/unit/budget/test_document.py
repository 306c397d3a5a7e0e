"""The rules' document: what it may say, and how it says what is wrong."""

from __future__ import annotations

from datetime import date
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import Budget, Condition, OwnLimit, Window, parse_rules, read_rules
from tollspan.usage import ConfigError, format_usd

MINIMAL = "version: 1\n"


def test_a_whole_document_is_read() -> None:
    rules = parse_rules(
        """
        version: 1
        defaults: {on_unavailable: allow, on_unbounded: deny, on_unbounded_input: deny,
                   on_unpriced: ceiling}
        budgets:
          - id: org-month
            limit: 2,000.50 USD
            window: month
            per: [customer, tag.tier]
            where: {provider: openai, model: ["gpt-4o*", o3], tag.tier: free}
            warn_at: [0.8, 0.5, 1]
            on_exceed: warn
            message: "Used up."
            upgrade_url: https://example.com/plans
          - {id: once, limit: 0 USD}
          - {id: t, limit: 50_000 tokens, per: user, window: {every: day, timezone: Asia/Tokyo}}
          - {id: c, limit: 1 call, where: {tool: search}, on_exceed: shadow, warn_at: .5}
        hosts: {LLM.example.internal: openai}
        """
    )
    assert rules.budgets == (
        Budget(
            id="org-month",
            limit=2_000_500_000_000,
            window=Window(every="month"),
            per=("customer", "tag.tier"),
            where=(
                Condition("provider", ("openai",)),
                Condition("model", ("gpt-4o*", "o3")),
                Condition("tag.tier", ("free",)),
            ),
            warn_at=(Decimal("0.5"), Decimal("0.8"), Decimal(1)),
            on_exceed="warn",
            message="Used up.",
            upgrade_url="https://example.com/plans",
        ),
        Budget(id="once", limit=0, window=Window(every="lifetime")),
        Budget(
            id="t",
            limit=50_000,
            unit="tokens",
            per=("user",),
            window=Window(every="day", timezone="Asia/Tokyo"),
        ),
        Budget(
            id="c",
            limit=1,
            unit="calls",
            where=(Condition("tool", ("search",)),),
            on_exceed="shadow",
            warn_at=(Decimal("0.5"),),
        ),
    )
    assert (rules.on_unavailable, rules.on_unbounded, rules.on_unpriced) == (
        "allow",
        "deny",
        "ceiling",
    )
    assert rules.hosts == (("llm.example.internal", "openai"),)


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("quarter", Window(every="quarter")),
        ("{every: year, timezone: UTC}", Window(every="year")),
        (
            "{every: month, anchor: 2026-01-31, timezone: Asia/Tokyo}",
            Window(every="month", anchor=date(2026, 1, 31), timezone="Asia/Tokyo"),
        ),
        (
            "{every: 30 days, anchor: 2026-11-14}",
            Window(every="day", count=30, anchor=date(2026, 11, 14)),
        ),
        (
            "{every: 1 day, anchor: '2026-11-14'}",
            Window(every="day", count=1, anchor=date(2026, 11, 14)),
        ),
    ],
)
def test_a_window_may_begin_on_a_day_of_its_own(text: str, window: Window) -> None:
    (budget,) = parse_rules(
        f"version: 1\nbudgets: [{{id: a, limit: 1 USD, window: {text}}}]"
    ).budgets
    assert budget.window == window


def test_single_values_and_what_is_left_out_are_read() -> None:
    rules = parse_rules(
        r"""
        version: 1
        budgets:
          - id: n
            limit: 1 call
            per: [customer, team]
            limits:
              - {team: 7, customer: acme, limit: 5 calls}
              - {team: "!x", limit: "1,000 calls"}
            where: {model: ["gpt-*", "!*-mini", '\!odd', '\o3', "!!both"]}
          - {id: one, limit: 1 call, per: user, limits: {a: 0 calls}}
        """
    )
    assert rules.budgets == (
        Budget(
            id="n",
            limit=1,
            unit="calls",
            per=("customer", "team"),
            limits=(
                OwnLimit((("customer", "acme"), ("team", "7")), 5),
                OwnLimit((("team", "!x"),), 1_000),
            ),
            where=(Condition("model", ("gpt-*", "!odd", r"\o3"), ("*-mini", "!both")),),
        ),
        Budget(
            id="one", limit=1, unit="calls", per=("user",), limits=(OwnLimit((("user", "a"),), 0),)
        ),
    )


@pytest.mark.parametrize(
    ("limit", "amount", "unit"),
    [
        ("5 input tokens", 5, "input_tokens"),
        ("1 output_token", 1, "output_tokens"),
        ("1.5 seconds", 1_500, "seconds"),
        ("'1,000 characters'", 1_000, "characters"),
        ("1 web search", 1, "web_searches"),
        ("3 requests", 3, "requests"),
        ("7 documents, where: {tool: ocr}", 7, "documents"),
        ("7 pages, where: {tool: ocr}", 7, "pages"),
    ],
)
def test_a_budget_counts_any_quantity(limit: str, amount: int, unit: str) -> None:
    (budget,) = parse_rules(f"version: 1\nbudgets: [{{id: a, limit: {limit}}}]").budgets
    assert (budget.limit, budget.unit) == (amount, unit)


def test_defaults_deny_what_cannot_be_asked() -> None:
    rules = parse_rules(MINIMAL)
    assert rules.budgets == ()
    assert rules.on_unavailable == "deny"
    assert rules.on_unbounded == "model_max"
    assert rules.on_unpriced is None


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param("", None, "is empty", id="empty"),
        pytest.param("budgets: []", 1, "`version` is missing", id="no version"),
        pytest.param("version: 2", 1, "expected 1", id="other version"),
        pytest.param("version: 1\nbudget: []", 2, "unknown key `budget`", id="unknown key"),
        pytest.param("version: 1\nversion: 1", 2, "written twice", id="key twice"),
        pytest.param("- 1", 1, "no mapping", id="a list"),
        pytest.param("version: 1\nbudgets: {a: 1}", 2, "no list", id="budgets no list"),
        pytest.param("version: 1\nbudgets:\n  - id: a", 3, "no `limit`", id="no limit"),
        pytest.param("version: 1\nbudgets:\n  - limit: 1 USD", 3, "no `id`", id="no id"),
        pytest.param(
            "version: 1\nbudgets:\n  - id: a\n    limit: 5", 4, "such as `49.50 USD`", id="bare"
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - id: a\n    limit: 5 EUR",
            4,
            "expected USD, tokens, input tokens, output tokens, calls, seconds, web searches, ",
            id="euros",
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - id: a\n    limit: -5 USD", 4, "negative", id="negative"
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - id: a\n    limit: 0.0000000001 USD",
            4,
            "9 decimals",
            id="finer than a nano-USD",
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - id: a\n    limit: 9999999999 USD", 4, "largest", id="huge"
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - {id: a, limit: 1 USD, window: decade}",
            3,
            "expected one of lifetime, hour, day, week, month, quarter, year, trace, or a number",
            id="unknown window",
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - {id: a, limit: 1 USD}\n  - {id: a, limit: 2 USD}",
            4,
            "unique",
            id="id twice",
        ),
        pytest.param(
            "version: 1\nbudgets:\n  - {id: 'a b', limit: 1 USD}",
            3,
            "expected 1 to 128",
            id="bad id",
        ),
        pytest.param(
            "version: 1\ndefaults: {on_unavailable: maybe}", 2, "allow, deny", id="bad choice"
        ),
        pytest.param("version: [1", 1, "not YAML", id="no YAML"),
        *[
            pytest.param(f"version: 1\nbudgets:\n  - {{id: a, {text}}}", 3, says, id=text)
            for text, says in [
                ("limit: -1 tokens", "negative"),
                ("limit: 1.0001 seconds", "at most 3 decimals (milliseconds) are exact"),
                ("limit: 1000000000001 seconds", "the largest is 10^12 seconds"),
                ("limit: 5 documents", "tools of your own, which the budget then names: `where: {"),
                ("limit: 5 EUR, where: {tool: ocr}", "is in EUR; expected USD"),
                ("limit: 5 usd, where: {tool: ocr}", "is in usd; expected USD"),
                ("limit: 5 tool_calls, where: {tool: ocr}", "is in tool_calls; expected USD"),
                ("limit: 5 audio_out, where: {tool: ocr}", "is in audio_out; expected USD"),
                ("limit: 1.5 tokens", "no decimals"),
                ("limit: 1e9 USD", "such as `49.50 USD`"),
                ("limit: nan USD", "such as `49.50 USD`"),
                ("limit: '49,50 USD'", "such as `49.50 USD`"),
                ("limit: '1,5 USD'", "such as `49.50 USD`"),
                ("limit: '1,,000 USD'", "such as `49.50 USD`"),
                ("limit: '1000,000 USD'", "such as `49.50 USD`"),
                ("limit: 1_ USD", "such as `49.50 USD`"),
                ("limit: ٣ USD", "such as `49.50 USD`"),
                (f"limit: 1.{'0' * 28}1 USD", "9 decimals"),
                (f"limit: {'9' * 5_000} calls", "the largest is 10^15 calls"),
                ("limit: 1 USD, where: {customer: null}", "`where.customer` is empty"),
                ("limit: 1 USD, where: {customer: [a, ~]}", "`where.customer` is empty"),
                ("limit: 1_000_000_000_000_000_000 calls", "the largest is 10^15 calls"),
                ("limit: 1 USD, per: [tenant]", "`per` names 'tenant'; expected customer"),
                ("limit: 1 USD, per: [tag.]", "`per` names 'tag.'"),
                ("limit: 1 USD, per: [model]", "`per` names 'model'"),
                ("limit: 1 USD, per: [user, user]", "twice"),
                ("limit: 1 USD, per: {user: 1}", "no plain value"),
                ("limit: 1 USD, where: [gpt]", "where is no mapping"),
                ("limit: 1 USD, where: {models: gpt}", "`where` names 'models'; expected provider"),
                ("limit: 1 USD, where: {model: []}", "`where.model` is empty"),
                ("limit: 1 USD, where: {model: ''}", "`where.model` is empty"),
                ("limit: 1 USD, on_exceed: stop", "expected one of deny, clamp, warn, shadow"),
                ("limit: 1 USD, warn_at: [80%]", "shares of the limit"),
                ("limit: 1 USD, warn_at: [1.5]", "shares of the limit"),
                ("limit: 1 USD, warn_at: [0]", "shares of the limit"),
                ("limit: 1 USD, warn_at: -0.5", "shares of the limit"),
                ("limit: 1 USD, window: {timezone: UTC}", "has no `every`"),
                ("limit: 1 USD, window: {every: decade}", "expected one of lifetime, hour"),
                ("limit: 1 USD, where: {model: '!'}", "leaves out nothing"),
                ("limit: 1 USD, where: {model: [a, '!']}", "a value behind the `!`"),
                ("limit: 1 USD, limits: {a: 2 USD}", "`limits` needs `per`"),
                ("limit: 1 USD, per: user, limits: {a: 2}", "`limits.a` is '2'; expected an amo"),
                ("limit: 1 USD, per: user, limits: {a: -2 USD}", "`limits.a` is negative"),
                (
                    "limit: 1 USD, per: user, limits: {a: 2 tokens}",
                    "`limits.a` is in tokens; expected USD, as in `limit`",
                ),
                ("limit: 1 USD, per: user, limits: {'a*': 2 USD}", "names 'a*'; expected single"),
                ("limit: 1 USD, per: user, limits: {~: 2 USD}", "has no value of user"),
                ("limit: 1 USD, per: user, limits: 2 USD", "limits is no mapping"),
                ("limit: 1 USD, per: user, limits: {a: 2 USD, a: 3 USD}", "`a` is written twice"),
                (
                    "limit: 1 USD, per: [user, team], limits: {a: 2 USD}",
                    "such as `- {user: …, team: …, limit: 500 USD}`",
                ),
                (
                    "limit: 1 USD, per: user, limits: [{limit: 2 USD}]",
                    "names no value; expected us",
                ),
                ("limit: 1 USD, per: user, limits: [{user: a}]", "has no `limit`"),
                (
                    "limit: 1 USD, per: user, limits: [{team: a, limit: 2 USD}]",
                    "unknown key `team`",
                ),
                (
                    (
                        "limit: 1 USD, per: user, limits: [{user: a, limit: 2 USD},"
                        " {user: a, limit: 3 USD}]"
                    ),
                    "`limits` has user 'a' twice",
                ),
                ("limit: 1 USD, window: 30 days", "`window` of 30 days has no `anchor`"),
                ("limit: 1 USD, window: {every: 30 days}", "30 days, anchor: 2026-11-14}"),
                ("limit: 1 USD, window: {every: 0 days, anchor: 2026-11-14}", "such as `30 days`"),
                (
                    "limit: 1 USD, window: {every: day, anchor: 2026-11-14}",
                    "does not go with `day`",
                ),
                ("limit: 1 USD, window: {every: month, anchor: 14}", "a day such as 2026-11-14"),
                ("limit: 1 USD, window: {every: month, anchor: 2026-02-29}", "'2026-02-29'; expec"),
                ("limit: 1 USD, window: {every: year, anchor: 20261114}", "a day such as 2026-11"),
                ("limit: 1 USD, window: {every: day, zone: UTC}", "unknown key `zone`"),
                ("limit: 1 USD, window: rolling", "has no length; expected `{rolling: 60s}`"),
                ("limit: 1 USD, window: {rolling: 60}", "'60'; expected a time such as `60s`"),
                ("limit: 1 USD, window: {rolling: 0s}", "`window.rolling` is '0s'; expected a t"),
                ("limit: 1 USD, window: {rolling: 91d}", "or `30d`, 90d at most"),
                ("limit: 1 USD, window: {rolling: [60s]}", "`window.rolling` is no plain value"),
                ("limit: 1 USD, window: {rolling: 60s, every: day}", "`window.every` does not go"),
                (
                    "limit: 1 USD, window: {rolling: 60s, anchor: 2026-11-14}",
                    "expected `{rolling: 60s}` alone",
                ),
                ("limit: 1 USD, window: {rolling: 60s, zone: UTC}", "unknown key `zone`"),
                ("limit: 1 USD, window: {timezone: UTC}", "or a length, `{rolling: 60s}`"),
                ("limit: 1 USD, window: idle", "`idle` has no length; expected `{idle: 30m}`"),
                ("limit: 1 USD, window: {idle: 30}", "'30'; expected a time such as `60s`"),
                ("limit: 1 USD, window: {idle: 9s}", "is '9s'; expected 10s or more"),
                ("limit: 1 USD, window: {idle: 25h}", "`window.idle` is '25h'; expected a time"),
                ("limit: 1 USD, window: {idle: [60s]}", "`window.idle` is no plain value"),
                ("limit: 1 USD, window: {idle: 30m, every: day}", "expected `{idle: 30m}` alone"),
                ("limit: 1 USD, window: {idle: 30m, timezone: UTC}", "ends with silence"),
                ("limit: 1 USD, window: {idle: 30m, rolling: 60s}", "unknown key `idle`"),
                ("limit: 1 USD, window: {every: day, timezone: Mars}", "an IANA name"),
                ("limit: 1 USD, window: {every: day, timezone: ../../etc/passwd}", "an IANA name"),
            ]
        ],
    ],
)
def test_what_is_wrong_is_named_with_its_line(text: str, line: int | None, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_rules(text, source="tollspan.yaml")
    assert says in str(caught.value)
    place = "tollspan.yaml" if line is None else f"tollspan.yaml:{line}:"
    assert str(caught.value).startswith(place)


def test_a_document_without_a_bottom_is_no_yaml() -> None:
    with pytest.raises(ConfigError, match=r"nest(ed too deep|ing depth)"):
        parse_rules("[" * 20_000)


def test_texts_that_are_null_are_not_there() -> None:
    (budget,) = parse_rules(
        "version: 1\nbudgets: [{id: a, limit: 1 USD, message: null, upgrade_url: ~}]"
    ).budgets
    assert (budget.message, budget.upgrade_url) == (None, None)


def test_a_program_that_counts_in_few_decimals_has_the_limits_that_are_written() -> None:
    with localcontext() as context:
        context.prec = 3
        (budget,) = parse_rules("version: 1\nbudgets: [{id: a, limit: 1234.56789 USD}]").budgets
    assert budget.limit == 1_234_567_890_000


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.yaml"):
        read_rules(tmp_path / "missing.yaml")


@given(st.integers(min_value=0, max_value=10**18))
def test_a_limit_written_as_a_decimal_is_read_exactly(nanousd: int) -> None:
    text = f"version: 1\nbudgets: [{{id: a, limit: {format_usd(nanousd)} USD}}]"
    assert parse_rules(text).budgets[0].limit == nanousd


@pytest.mark.parametrize(
    "address",
    ["memory:", "sqlite:", "sqlite:../money", "redis://user:secret@h:6379/0", "postgresql://h/db"],
)
def test_a_document_may_name_its_authority(address: str) -> None:
    assert parse_rules(f"version: 1\nauthority: '{address}'\n").authority == address
    assert parse_rules("version: 1\n").authority is None


def test_an_unknown_authority_is_told_without_what_may_be_a_password() -> None:
    with pytest.raises(ConfigError, match=r":2: ") as caught:
        parse_rules("version: 1\nauthority: mysql://user:secret@h/db\n", source="f.yaml")
    assert "redis://…" in str(caught.value)
    assert "secret" not in str(caught.value)
