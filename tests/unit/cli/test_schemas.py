"""The published schemas: current, and of one mind with the parser and with what is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from tollspan.budget import parse_rules
from tollspan.cli import config_schema, event_schema, main
from tollspan.usage import ConfigError

ROOT = Path(__file__).resolve().parents[3]
CONFIG = jsonschema.Draft202012Validator(config_schema())
DOCUMENTS = sorted(
    path for folder in ("examples", "docs") for path in (ROOT / folder).rglob("*tollspan*.yaml")
)


class Plain(yaml.SafeLoader):
    """Reads a day as the text that it is written as, like YAML 1.2 and what checks schemas."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the base class's name for it
        first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def is_accepted(document: object) -> bool:
    """Say whether the parser takes a document."""
    try:
        parse_rules(yaml.safe_dump(document, allow_unicode=True))
    except ConfigError:
        return False
    return True


@pytest.mark.parametrize(("path", "text"), schemas.files().items(), ids=lambda one: str(one)[-30:])
def test_the_published_schemas_are_current(path: Path, text: str) -> None:
    assert path.read_text() == text, "run scripts/schemas.py"


@pytest.mark.parametrize("schema", [config_schema(), event_schema()], ids=["config", "event"])
def test_schemas_are_schemas(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


def test_the_command_prints_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert json.loads(capsys.readouterr().out) == config_schema()
    assert main(["config", "schema", "--event"]) == 0
    assert json.loads(capsys.readouterr().out) == event_schema()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_document_that_we_show_is_valid(path: Path) -> None:
    CONFIG.validate(yaml.load(path.read_text(), Loader=Plain))


def test_every_key_of_an_event_is_described() -> None:
    found: Any = event_schema()["$defs"]
    for kind in ("EventLine", "ChargeLine"):
        properties = found[kind]["properties"]
        assert [key for key, value in properties.items() if not value.get("description")] == []


amounts = st.sampled_from(
    ["5 USD", "0 USD", "49.50 USD", "2,000.5USD", "1_000 USD", " 7 USD ", "1000000000 USD",
     "1,000,000,000.000 USD", "1000000000.1 USD", "1000000001 USD", "00012 USD", "0.123456789 USD",
     "0.1234567890 USD", "0.0000000001 USD", "-1 USD", "5", "5 EUR", "5 usd", "USD", "", ".5 USD",
     "5. USD", "1e3 USD", "NaN USD", "99999999999999999999 USD", "1 call", "100 calls", "5 tokens",
     "5.0 tokens", "5.5 tokens", "1000000000000000 calls", "1000000000000001 calls", "5 hours",
     "5 input tokens", "5 input_tokens", "1 web search", "1.5 seconds", "0.0001 seconds",
     "1000000000000 seconds", "1000000000001 seconds", "5 images", "5.5 images", "5 documents",
     "5 tool_calls", "5 output", "5 reasoning", "5  images", "5 Images",
     "-1 calls", 5, -5, None, ["5 USD"], True]
)  # fmt: skip
choices = st.sampled_from(
    ["lifetime", "hour", "day", "week", "month", "year", "quarter", "trace", "30 days", "0 days",
     "allow", "deny", "ceiling", "window", "model_max", "warn", "shadow", "", "DENY"]
)  # fmt: skip
names = st.sampled_from(
    ["a", "org-month", "0", "A.b_c", "-a", "", "a b", "é", "x" * 128, "x" * 129, 7]
)
whom = st.sampled_from(["customer", "session", "tag.tier", "tag.", "tag", "model", "colour", ""])
windows = st.one_of(
    choices,
    st.sampled_from(
        [
            {"rolling": text}
            for text in (
                "1s",
                "0s",
                "60 s",
                "7776000s",
                "7776001s",
                "7769999s",
                "129600m",
                "24h",
                "129601m",
                "129099m",
                "2160h",
                "2161h",
                "90d",
                "91d",
                "07d",
                "1w",
                60,
                "",
            )
        ]
        + [
            {"idle": text}
            for text in ("9s", "10s", "86400s", "86401s", "1m", "24h", "25h", "1d", 60)
        ]
        + ["idle", {"idle": "30m", "every": "day"}, {"idle": "30m", "rolling": "60s"}]
        + ["rolling", {"rolling": "60s", "every": "day"}, {"rolling": ["60s"]}]
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "every": choices,
            "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
            "anchor": st.sampled_from(["2026-11-14", "2026-2-1", "", 14]),
        },
    ),
)
patterns = st.sampled_from(
    ["gpt-4o*", "!o3", "!", ["a", "!"], "", "free", 7, True, [], ["a", "b*"], ["a", ""], {"a": 1}]
)
limits = st.one_of(
    st.dictionaries(st.sampled_from(["a", "a*", "", 7]), amounts, max_size=2),
    st.lists(
        st.fixed_dictionaries(
            {}, optional={"user": st.sampled_from(["a", "", "a?", 7]), "limit": amounts}
        ),
        max_size=1,
    ),
    st.just("5 USD"),
)
parts = {
    "window": windows,
    "per": st.one_of(whom, st.lists(whom, max_size=3)),
    "where": st.one_of(
        st.dictionaries(
            st.sampled_from(
                ["model", "provider", "tool", "operation", "customer", "tag.x", "colour"]
            ),
            patterns,
            max_size=2,
        ),
        st.just("gpt-4o"),
    ),
    "on_exceed": st.one_of(
        choices,
        st.sampled_from(
            [
                "clamp",
                {"clamp": {}},
                {"clamp": {"minimum": 256}},
                {"clamp": {"minimum": 0}},
                {},
                {"clamp": {"most": 1}},
                {"clamp": None},
                {"deny": {}},
                ["clamp"],
                {"clamp": {"minimum": "256"}},
                {"clamp": {"minimum": 1000000000}},
                "reroute",
                {"reroute": {"gpt-4o*": "gpt-4o-mini"}},
                {"reroute": {}},
                {"reroute": {"a": ""}},
                {"reroute": {"": "a"}},
                {"reroute": {"a": None}},
                {"reroute": {"a": ["b"]}},
                {"reroute": {"a": "b"}, "clamp": {}},
                {"reroute": "a"},
            ]
        ),
    ),
    "bound": st.sampled_from(["strict", "typical", "loose", "", None, ["strict"]]),
    "finish_reserve": st.sampled_from(
        [
            "5%",
            " 5 %",
            "0.5%",
            "0%",
            "0.0%",
            "100%",
            "5",
            0.05,
            ".05",
            "0.05",
            0,
            1,
            0.0,
            "0.00",
            "-5%",
            "half",
            ["5%"],
            None,
            "5.12345678%",
        ]
    ),
    "cooldown": st.sampled_from(["60s", "5m", "24h", "25h", "0s", "60", 60, None, ["1s"], ""]),
    "warn_at": st.sampled_from([0.5, [0.5, 0.8], [1], 0, 1.5, [], [-0.5], "half", [[0.5]]]),
    "message": st.sampled_from(["Used up.", "", "%s {x}", 7, ["a"]]),
    "upgrade_url": st.just("https://example.com/plans"),
    "lmit": st.just("1 USD"),
}
budgets = st.fixed_dictionaries({}, optional={"id": names, "limit": amounts, **parts})
plans: st.SearchStrategy[object] = st.one_of(
    st.dictionaries(
        st.sampled_from(["free", "pro", "a b", "-x"]),
        st.one_of(
            st.fixed_dictionaries(
                {}, optional={"budgets": st.lists(budgets, max_size=1), "anchor": st.just("x")}
            ),
            st.just("free"),
        ),
        max_size=2,
    ),
    st.just([]),
)
assigned = st.one_of(
    st.dictionaries(
        st.sampled_from(["acme", "*", "a*", "", 7]),
        st.one_of(
            st.just("pro"),
            st.fixed_dictionaries(
                {},
                optional={
                    "plan": st.just("pro"),
                    "anchor": st.sampled_from(["2026-11-14", "soon"]),
                    "limit": st.just("1 USD"),
                },
            ),
            st.just(["pro"]),
        ),
        max_size=2,
    ),
    st.just("pro"),
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from([1, "1", 2, "v1", None, [1]]),
        "authority": st.sampled_from(
            ["memory:", "sqlite:", "redis://h/0", "mysql://h", "sqlite:x"]
        ),
        "defaults": st.one_of(
            st.dictionaries(
                st.sampled_from(
                    ["on_unavailable", "on_unbounded", "on_unbounded_input", "on_unpriced", "on"]
                ),
                choices,
                max_size=3,
            ),
            st.just("deny"),
        ),
        "budgets": st.one_of(st.lists(budgets, max_size=1), st.just({"id": "a"})),
        "hosts": st.one_of(
            st.dictionaries(st.sampled_from(["h", "h:80"]), st.just("openai")), st.just("h")
        ),
        "policies": st.just([]),
        "plans": plans,
    },
)
# `limits` go with a dimension, and are in the unit of the limit: no schema can say so.
with_limits = st.fixed_dictionaries(
    {"id": st.just("a"), "per": st.just("user"), "limit": st.just("1 USD"), "limits": limits}
).filter(lambda budget: not re.search(r"[0-9]\s*(?!USD)[a-z]|tokens", str(budget["limits"])))
of_tools = st.fixed_dictionaries(
    {"id": st.just("a"), "limit": amounts, "where": st.just({"tool": "ocr"})}
)
# One part at a time is odd, so that what is wrong with it is not hidden by another.
nearly_valid = st.one_of(
    *(
        st.fixed_dictionaries({"id": st.just("a"), "limit": st.just("1 USD"), name: odd})
        for name, odd in {**parts, "id": names, "limit": amounts, "limits": limits}.items()
    ),
    with_limits,
    of_tools,
).map(lambda budget: {"version": 1, "budgets": [budget]})
with_plans: st.SearchStrategy[object] = st.one_of(
    plans.map(lambda found: {"version": 1, "plans": found}),
    assigned.map(lambda found: {"version": 1, "plans": {"pro": {"budgets": []}}, "assign": found}),
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(nearly_valid, with_plans, documents))
def test_the_schema_and_the_parser_are_of_one_mind(document: object) -> None:
    assert CONFIG.is_valid(document) == is_accepted(document)
