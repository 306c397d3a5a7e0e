"""`tollspan events` and `report`: which events, which keys, which sums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.integration.cli.books import EVERY_KIND, TRACEPARENT, USAGE, call, used, write
from tests.integration.cli.conftest import Run
from tollspan.cli import event_schema
from tollspan.usage import TOKEN_BUCKETS, DecisionEvent

PROMISED = (
    *("id", "time", "trace_id", "span_id", "provider", "operation", "request_model"),
    *("response_model", "customer", "session", "tags", "input_tokens", "output_tokens"),
    *("usage_status", "cost_nanousd", "cost_status", "price_book", "outcome", "decision"),
    *TOKEN_BUCKETS,
)


def lines(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_every_line_has_every_promised_key_and_obeys_the_schema(books: Path, run: Run) -> None:
    code, output, _ = run("events", "--json")
    found = lines(output)
    assert code == 0
    assert len(found) == len(EVERY_KIND)
    validator = jsonschema.Draft202012Validator(event_schema())
    for line in found:
        validator.validate(line)
        assert [key for key in PROMISED if key not in line] == []
        assert set(line) == set(found[0])


def test_a_call_is_told_in_full(books: Path, run: Run) -> None:
    event = lines(run("events", "--json")[1])[0]
    _, trace_id, span_id, _ = TRACEPARENT.split("-")
    assert event["id"] == f"{1:032x}"
    assert event["time"] == "2026-11-22T13:00:00.000000Z"
    assert (event["trace_id"], event["span_id"]) == (trace_id, span_id)
    assert (event["request_model"], event["response_model"]) == (
        "gpt-4o-mini",
        "gpt-4o-mini-2024-07-18",
    )
    assert (event["customer"], event["session"], event["tags"]) == ("acme", "s1", {"tier": "free"})
    assert (event["input_tokens"], event["output_tokens"]) == (100, 45)
    assert {name: event[name] for name in TOKEN_BUCKETS} == {
        name: getattr(USAGE, name) for name in TOKEN_BUCKETS
    }
    assert (event["cost_nanousd"], event["cost_status"], event["price_book"]) == (
        "1000",
        "priced",
        "b1",
    )
    assert (event["usage_status"], event["outcome"], event["decision"]) == (
        "reported",
        "ok",
        "allow",
    )


def test_what_nobody_knows_is_null_and_never_zero(books: Path, run: Run) -> None:
    unpriced, unknown, unbilled = lines(run("events", "--json")[1])[2:5]
    assert (unpriced["cost_nanousd"], unpriced["cost_status"]) == (None, "unpriced")
    assert unpriced["customer"] is None
    assert unpriced["tags"] == {}
    assert (unknown["input_tokens"], unknown["output"], unknown["usage_status"]) == (
        None,
        None,
        "unknown",
    )
    assert (unbilled["input_tokens"], unbilled["usage_status"]) == (None, None)
    assert unbilled["cost_nanousd"] == "0"


def test_a_refusal_costs_nothing_and_says_why(books: Path, run: Run) -> None:
    refused = lines(run("events", "--json")[1])[-1]
    assert isinstance(EVERY_KIND[-1], DecisionEvent)
    assert (refused["id"], refused["type"]) == (EVERY_KIND[-1].id, "decision")
    assert (refused["outcome"], refused["decision"]) == ("denied", "deny")
    assert (refused["cost_nanousd"], refused["cost_status"]) == ("0", "not_billed")
    assert refused["error_type"] == "tollspan.budget_exceeded"
    assert refused["rule_ids"] == ["all"]
    assert (refused["scope"], refused["unit"]) == ({"customer": "acme"}, "USD")
    assert [refused[key] for key in ("limit", "spent", "held", "asked")] == [
        "0.01", "0.009", "0", "0.0025",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        pytest.param(("-n", "2"), [6, 7], id="newest"),
        pytest.param(("--customer", "bolt"), [4, 5], id="customer"),
        pytest.param(("--customer", "unattributed"), [3], id="nobody"),
        pytest.param(("--customer", "acme", "-n", "2"), [6, 7], id="newest of one"),
        pytest.param(("--outcome", "denied"), [7], id="refusals"),
        pytest.param(("--tag", "tier=free"), [1, 7], id="tag"),
        pytest.param(("--tag", "tier=free", "--session", "s1"), [1], id="both"),
        pytest.param(("--customer", "x' OR 1=1 --"), [], id="no SQL"),
        pytest.param(("--since", "2026-11-22T17:00:00Z"), [5, 6, 7], id="since"),
        pytest.param(("--until", "2026-11-22T14:00"), [1], id="until"),
        pytest.param(("--since", "2026-11-22T16:00:00+02:00", "-n", "9"), [2, 3, 4, 5, 6, 7],
                     id="zone"),
    ],
)  # fmt: skip
def test_events_are_chosen(
    books: Path, run: Run, options: tuple[str, ...], numbers: list[int]
) -> None:
    code, output, _ = run("events", "--json", *options)
    assert code == 0
    assert [int(line["call_id"], 16) for line in lines(output)] == numbers


def test_a_table_shows_the_newest_and_says_so(home: Path, run: Run) -> None:
    write(home, *(used(call(number)) for number in range(60)))
    _, output, errors = run("events")
    assert len(output.splitlines()) == 2 + 50
    assert output.splitlines()[-1].endswith(f"{59:032x}")
    assert "only the 50 newest are shown" in errors
    assert run("events", "-n", "60")[2] == ""


def test_what_moves_a_terminal_is_escaped(home: Path, run: Run) -> None:
    write(home, used(call(1, model="\x1b[2Jgone\n\r\u202e", customer="[red]acme[/red]")))
    _, output, _ = run("events")
    assert r"\x1b[2Jgone\n\r\u202e-2024-07-18" in output
    assert "[red]acme[/red]" in output
    assert len(output.splitlines()) == 3


def test_sums_by_customer_are_an_array_with_the_unattributed(books: Path, run: Run) -> None:
    code, output, _ = run("report", "--by", "customer,model", "--json")
    assert code == 0
    rows = json.loads(output)
    assert {row["customer"]: row["cost_nanousd"] for row in rows} == {
        "acme": "4000",
        "bolt": "0",
        "unattributed": "0",
    }
    (acme,) = [row for row in rows if row["customer"] == "acme"]
    assert (acme["calls"], acme["denied"], acme["estimated"]) == (3, 1, 1)
    assert "unattributed" in run("report", "--by", "customer")[1]


def test_sums_are_of_what_is_chosen(books: Path, run: Run) -> None:
    rows = json.loads(run("report", "--by", "tag.tier", "--json")[1])
    assert [row["tag.tier"] for row in rows] == ["pro", "unattributed", "free"]
    _, output, _ = run(
        "report", "--by", "tag.tier,outcome", "--customer", "acme", "--until",
        "2026-11-22T18:00:00Z", "--json",
    )  # fmt: skip
    assert [
        (row["tag.tier"], row["outcome"], row["cost_nanousd"]) for row in json.loads(output)
    ] == [
        ("pro", "ok", "2000"),
        ("free", "ok", "1000"),
    ]
    assert run("report", "--since", "2027-01-01", "--json")[1] == "[]\n"
