"""Events of billing systems: the documented fields, and nothing unknown as 0."""

from __future__ import annotations

import json

import pytest

from tests.unit.reports.making import NOON, an_event
from tollspan.reports import (
    lago_batch,
    lago_event,
    openmeter_event,
    openmeter_token_events,
    stripe_event,
)
from tollspan.usage import Attribution, Usage

USAGE = Usage(input_uncached=1_000, output=200, reasoning=50, quantities=(("web_searches", 2),))
EVENT = an_event(USAGE, number=7, owner=Attribution(customer="acme", service="shop front"))
NOBODYS = an_event(USAGE, owner=Attribution())
UNPRICED = an_event(Usage(output=5), model="nobody-knows-it")
ID = f"{7:032x}"


def read(written: bytes | None) -> dict[str, object]:
    assert written is not None
    found: dict[str, object] = json.loads(written)
    return found


def test_openmeter_takes_a_cloud_event_with_numbers_as_strings() -> None:
    said = read(openmeter_event(EVENT))
    assert said == {
        "specversion": "1.0",
        "type": "tollspan.usage",
        "id": ID,
        "source": "//shop%20front",
        "subject": "acme",
        "time": "2026-11-22T12:00:00.000000Z",
        "datacontenttype": "application/json",
        "data": {
            "provider": "openai", "model": "gpt-4o-mini", "operation": "chat",
            "usage_status": "reported", "cost_status": "priced",
            "tokens_input_uncached": "1000", "tokens_output": "200", "tokens_reasoning": "50",
            "web_searches": "2", "cost": "0.0203", "cost_nanousd": "20300000",
        },
    }  # fmt: skip


def test_openmeters_own_example_has_one_event_for_each_class_of_tokens() -> None:
    found = [read(one) for one in openmeter_token_events(EVENT)]
    assert [one["id"] for one in found] == [
        f"{ID}.input_uncached", f"{ID}.output", f"{ID}.reasoning"
    ]  # fmt: skip
    assert found[0]["type"] == "prompt"
    data = found[0]["data"]
    assert isinstance(data, dict)
    assert (data["tokens"], data["model"], data["type"]) == (
        "1000", "gpt-4o-mini", "input_uncached"
    )  # fmt: skip


def test_lago_takes_a_transaction_with_exact_cents() -> None:
    written = lago_event(EVENT, code="ai_cost", subscription="sub_1")
    said = read(written)
    assert said["transaction_id"] == ID
    assert said["external_subscription_id"] == "sub_1"
    assert said["code"] == "ai_cost"
    assert said["timestamp"] == NOON // 10**9
    assert said["precise_total_amount_cents"] == "2.03"
    assert said["properties"] == {
        "provider": "openai", "model": "gpt-4o-mini", "operation": "chat",
        "usage_status": "reported", "cost_status": "priced",
        "tokens_input_uncached": 1_000, "tokens_output": 200, "tokens_reasoning": 50,
        "web_searches": 2,
    }  # fmt: skip
    assert written is not None
    assert read(lago_batch([written])) == {"events": [said]}


def test_a_batch_of_lago_has_no_more_than_it_takes() -> None:
    with pytest.raises(ValueError, match="101 events"):
        lago_batch([b"{}"] * 101)


def test_stripe_takes_whole_numbers_as_strings() -> None:
    assert read(stripe_event(EVENT, event_name="ai_cost", customer="cus_1")) == {
        "event_name": "ai_cost",
        "identifier": ID,
        "timestamp": NOON // 10**9,
        "payload": {"stripe_customer_id": "cus_1", "value": "20300000"},
    }


@pytest.mark.parametrize(
    ("unit", "value"), [("tokens", "1250"), ("reasoning", "50"), ("web_searches", "2")]
)
def test_stripe_can_count_other_units(unit: str, value: str) -> None:
    said = read(stripe_event(EVENT, event_name="ai", unit=unit))
    assert said["payload"] == {"stripe_customer_id": "acme", "value": value}
    assert said["identifier"] == f"{ID}.{unit}"


def test_a_call_of_nobody_is_nobodys_event() -> None:
    assert openmeter_event(NOBODYS) is None
    assert openmeter_token_events(NOBODYS) == ()
    assert lago_event(NOBODYS, code="ai") is None
    assert stripe_event(NOBODYS, event_name="ai") is None


def test_a_cost_that_nobody_knows_is_not_there() -> None:
    data = read(openmeter_event(UNPRICED))["data"]
    assert isinstance(data, dict)
    assert "cost" not in data
    assert data["cost_status"] == "unpriced"
    assert "precise_total_amount_cents" not in read(lago_event(UNPRICED, code="ai"))
    assert stripe_event(UNPRICED, event_name="ai") is None
    assert openmeter_token_events(an_event(Usage(status="unknown"))) == ()
