"""Programs of any language ask before a call and say afterwards how it went, over HTTP."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import pytest

from tests.serving import Answer, RunningServer, running_server

_RULES = """
version: 1
budgets:
  - {id: org, limit: 0.02 USD, window: month}
  - {id: customer-month, per: [customer], limit: 0.01 USD, window: month, message: "Used up.",
     upgrade_url: "https://example.com/plans"}
  - {id: calls, per: [customer], limit: 100 calls, window: day}
"""
_CALL: dict[str, Any] = {
    "provider": "openai", "model": "gpt-4o-mini", "max_input_tokens": 1_000,
    "max_output_tokens": 1_000, "attribution": {"customer": "acme", "feature": "chat"},
}  # fmt: skip
_BOUND = 1_000 * 150 + 1_000 * 600
"""nano-USD: 0.15 and 0.60 USD for a million tokens; dearer tiers that nobody rules out are more."""
_names = count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = tmp_path_factory.mktemp("calls") / "server.db"
    with running_server(f"sqlite:{where}", hold_seconds=2.0) as made:
        yield made


class Program:
    """A program of one tenant, with rules of its own."""

    def __init__(self, server: RunningServer, rules: str = _RULES) -> None:
        self.server = server
        self.key = server.make_key(f"tenant{next(_names)}")
        if rules:
            answer = server.ask("PUT", "/v1/rules", key=self.key, data=rules.encode())
            assert answer.status == 201, answer.body

    def authorize(self, call_id: str | None = None, **changes: Any) -> Answer:
        asked = {**_CALL, **changes}
        if call_id is not None:
            asked["call_id"] = call_id
        return self.server.ask("POST", "/v1/authorize", key=self.key, body=asked)

    def settle(self, call_id: str, **said: Any) -> Answer:
        body = {"call_id": call_id, **said}
        return self.server.ask("POST", "/v1/settle", key=self.key, body=body)

    def standing(self, budget: str = "customer-month") -> tuple[int, int, int]:
        rows = self.server.ask("GET", f"/v1/budgets?budget={budget}", key=self.key).json["budgets"]
        posted, held, unresolved = [
            sum(int(row[name]) for row in rows) for name in ("posted", "held", "unresolved")
        ]
        return posted, held, unresolved

    def events(self) -> list[Any]:
        return list(self.server.ask("GET", "/v1/events", key=self.key).json["events"])


def test_a_call_holds_its_bound_and_posts_what_it_used(server: RunningServer) -> None:
    program = Program(server)
    allowed = program.authorize("call-1").json
    assert (allowed["decision"], allowed["denial"]) == ("allow", None)
    assert allowed["hold_id"] == "call-1"
    assert (allowed["model"], allowed["max_output_tokens"]) == ("gpt-4o-mini", 1_000)
    assert sorted(allowed["rules"]) == ["calls", "customer-month", "org"]
    bound = int(allowed["bound_nanousd"])
    assert _BOUND <= bound < _BOUND * 3
    held = {one["budget"]: one for one in allowed["held"]}
    assert held["customer-month"]["amount"] == str(bound)
    assert held["customer-month"]["scope"] == {"customer": "acme"}
    assert held["customer-month"]["remaining"] == str(10_000_000 - bound)
    assert (held["calls"]["unit"], held["calls"]["amount"]) == ("calls", "1")
    assert program.standing() == (0, bound, 0)
    usage = {"input_uncached": 700, "cache_read": 100, "output": 50}
    settled = program.settle("call-1", usage=usage, response={"id": "chatcmpl-1"}).json
    cost = 700 * 150 + 100 * 75 + 50 * 600
    assert (settled["cost_nanousd"], settled["cost_status"]) == (str(cost), "priced")
    assert program.standing() == (cost, 0, 0)
    assert program.standing("org") == (cost, 0, 0)
    (event,) = program.events()
    assert event["id"] == "call-1"
    assert event["data"]["call"]["attribution"]["feature"] == "chat"
    assert event["data"]["cost"]["amount_nanousd"] == str(cost)


def test_a_retry_of_either_is_answered_the_same_and_counts_once(server: RunningServer) -> None:
    program = Program(server)
    first = program.authorize("again")
    standing = program.standing()
    assert program.authorize("again").body == first.body
    assert program.standing() == standing
    said = {"usage": {"input_uncached": 10, "output": 5}}
    settled = program.settle("again", **said)
    assert program.settle("again", **said).body == settled.body
    assert program.authorize("again").body == first.body
    assert program.standing() == (10 * 150 + 5 * 600, 0, 0)
    assert len(program.events()) == 1
    assert program.authorize("again", max_output_tokens=9).status == 409
    assert program.settle("again", usage={"output": 6}).status == 409
    assert program.settle("again", cancel=True).status == 409


def test_a_call_that_does_not_fit_is_denied_as_an_sdk_would_be(server: RunningServer) -> None:
    program = Program(server)
    answer = program.authorize("big", max_output_tokens=100_000)
    assert answer.status == 200
    denied = answer.json
    assert (denied["decision"], denied["hold_id"], denied["held"]) == ("deny", None, [])
    denial = denied["denial"]
    assert denial["type"] == "tollspan.budget_exceeded"
    assert denial["rule_id"] in ("org", "customer-month")
    assert denial["unit"] == "nanousd"
    assert int(denial["asked"]) > int(denial["limit"])
    assert denial["source"] == "precall"
    assert denial["recovery"]["retryable"] is False
    assert program.standing() == (0, 0, 0)
    assert program.settle("big", usage={"output": 1}).status == 409
    (event,) = program.events()
    assert (event["id"], event["data"]["decision"]["action"]) == ("big.d0", "deny")
    assert program.authorize("big", max_output_tokens=100_000).body == answer.body
    small = program.authorize("mine", attribution={"customer": "bob"}).json
    assert small["decision"] == "allow"


def test_what_was_not_sent_is_free_again_and_still_counts_if_it_was(server: RunningServer) -> None:
    program = Program(server)
    program.authorize("c")
    assert program.settle("c", cancel=True).json["status"] == "cancelled"
    assert program.settle("c", cancel=True).json["status"] == "cancelled"
    assert program.standing() == (0, 0, 0)
    assert program.events() == []
    late = program.settle("c", usage={"output": 10})
    assert late.json["cost_nanousd"] == "6000"
    assert program.standing() == (6_000, 0, 0)


def test_what_nobody_knows_stays_counted(server: RunningServer) -> None:
    program = Program(server)
    bound = int(program.authorize("u").json["bound_nanousd"])
    settled = program.settle("u", outcome="timeout").json
    assert (settled["cost_nanousd"], settled["cost_status"]) == (None, "unknown")
    assert program.standing() == (0, 0, bound)
    program.authorize("refused")
    refused = program.settle("refused", outcome="error", not_billed=True, error_type="429").json
    assert refused["cost_status"] == "not_billed"
    assert program.standing() == (0, 0, bound)


def test_a_hold_that_is_not_settled_becomes_unresolved_and_is_corrected_late(
    server: RunningServer,
) -> None:
    program = Program(server)
    bound = int(program.authorize("slow").json["bound_nanousd"])
    give_up_at = time.monotonic() + 30
    while program.standing() != (0, 0, bound):
        assert time.monotonic() < give_up_at
        time.sleep(0.2)
        server.ask("POST", "/v1/leases/expire", key=program.key)
    assert program.settle("slow", usage={"output": 10}).json["cost_nanousd"] == "6000"
    assert program.standing() == (6_000, 0, 0)


def test_a_call_is_told_what_to_send_instead(server: RunningServer) -> None:
    program = Program(
        server,
        "version: 1\nbudgets:\n  - {id: b, limit: 0.01 USD, window: month,\n"
        "     on_exceed: {reroute: {gpt-4o: gpt-4o-mini}}}\n",
    )
    answer = program.authorize("r", model="gpt-4o", max_output_tokens=2_000).json
    assert (answer["decision"], answer["model"]) == ("reroute", "gpt-4o-mini")
    assert int(answer["bound_nanousd"]) < 10_000_000
    settled = program.settle("r", usage={"output": 10}, response={"model": "gpt-4o-mini"}).json
    assert settled["cost_nanousd"] == "6000"


def test_a_rule_that_only_warns_lets_a_call_through(server: RunningServer) -> None:
    program = Program(
        server,
        "version: 1\nbudgets: [{id: soft, limit: 0.0001 USD, window: month, on_exceed: warn}]\n",
    )
    answer = program.authorize("w").json
    assert (answer["decision"], answer["warnings"]) == ("warn", ["soft"])
    program.settle("w", usage={"output": 1_000})
    assert program.standing("soft") == (600_000, 0, 0)


def test_budgets_that_run_low_are_told_once(server: RunningServer) -> None:
    program = Program(
        server,
        "version: 1\nbudgets: [{id: low, limit: 0.01 USD, window: month, warn_at: [0.5, 0.8]}]\n",
    )
    for number in range(4):
        program.authorize(f"w{number}", max_output_tokens=5_000)
        program.settle(f"w{number}", usage={"output": 4_200})
    told = [one["data"] for one in program.events() if one["type"] == "dev.tollspan.decision.v1"]
    warned = [(one["call"]["id"], one["warning"]["share"]) for one in told if "warning" in one]
    assert warned == [("w1", "0.5")]
    assert [one["decision"]["action"] for one in told] == ["warn", "deny", "deny"]


def test_a_tenant_without_rules_is_metered_all_the_same(server: RunningServer) -> None:
    program = Program(server, rules="")
    answer = program.authorize().json
    assert (answer["decision"], answer["hold_id"], answer["held"]) == ("allow", None, [])
    assert len(answer["call_id"]) == 32
    settled = program.settle(answer["call_id"], usage={"output": 10}).json
    assert (settled["cost_nanousd"], settled["charges"]) == ("6000", [])


def test_tenants_know_nothing_of_each_others_calls(server: RunningServer) -> None:
    one, other = Program(server), Program(server)
    one.authorize("mine")
    assert other.settle("mine", usage={"output": 1}).status == 404
    assert other.authorize("mine", model="gpt-4o").status == 200
    reader = server.make_key(f"tenant{next(_names)}", "read")
    assert server.ask("POST", "/v1/authorize", key=reader, body=_CALL).status == 403


@pytest.mark.parametrize(
    ("place", "changes"),
    [
        ("max_tokens", {"max_tokens": 5}),
        ("max_output_tokens", {"max_output_tokens": -1}),
        ("max_output_tokens", {"max_output_tokens": 10**14}),
        ("model", {"model": ""}),
        ("model", {"model": "x" * 257}),
        ("provider", {"provider": "a\x00b"}),
        ("call_id", {"call_id": "a.r"}),
        ("quantities", {"quantities": {"web_searches": "3"}}),
        ("nobody", {"attribution": {"nobody": "x"}}),
        ("attribution.customer", {"attribution": {"customer": "x" * 300}}),
        ("attribution.customer", {"attribution": {"customer": ["x"]}}),
        ("traceparent", {"traceparent": "00-1"}),
    ],
)
def test_a_question_that_can_not_be_meant_is_refused_with_its_place(
    server: RunningServer, place: str, changes: dict[str, Any]
) -> None:
    body = {**_CALL, **changes}
    answer = server.ask("POST", "/v1/authorize", body=body)
    assert (answer.status, answer.problem) == (400, "invalid")
    assert place in answer.json["error"]["message"]


def test_words_about_an_end_that_can_not_be_meant_are_refused(server: RunningServer) -> None:
    program = Program(server)
    program.authorize("e")
    for said in (
        {"usage": {"output": -1}},
        {"usage": {"prompt_tokens": 1}},
        {"usage": {"output": 10**13 + 1}},
        {"usage": {"output": 1}, "cancel": True},
        {"cancel": True, "not_billed": True},
        {"outcome": "denied"},
    ):
        assert program.settle("e", **said).status == 400, said
    assert program.settle("nobody", usage={"output": 1}).status == 404
    large = b'{"call_id": "' + b"x" * 70_000 + b'"}'
    assert server.ask("POST", "/v1/settle", key=program.key, data=large).status == 413


def test_many_threads_never_pass_the_limit(server: RunningServer) -> None:
    program = Program(server, "version: 1\nbudgets: [{id: all, limit: 0.005 USD, window: month}]\n")
    limit = 5_000_000
    is_over = threading.Event()
    seen: list[int] = []

    def watch() -> None:
        while not is_over.is_set():
            seen.append(sum(program.standing("all")))

    def run(number: int) -> str:
        asked = program.authorize(f"t{number % 40}", attribution={}).json
        if asked["decision"] == "deny":
            return "deny"
        if number % 4 == 0:
            program.settle(asked["call_id"], cancel=True)
        elif number % 4 == 1:
            program.settle(asked["call_id"])
        else:
            program.settle(asked["call_id"], usage={"input_uncached": 900, "output": 900})
        return "done"

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(run, range(60)))
    finally:
        is_over.set()
        watcher.join()
    assert {"deny", "done"} == set(outcomes)
    assert max(seen) <= limit
    events = [one for one in program.events() if one["type"] == "dev.tollspan.usage.v1"]
    posted = sum(int(one["data"]["cost"].get("amount_nanousd", 0)) for one in events)
    assert program.standing("all")[0] == posted
    assert len({one["id"] for one in events}) == len(events)
