"""The plan of a run of chaos, and the judge of it: what it must notice."""

from __future__ import annotations

import msgspec
import pytest

from tests.chaos import verdict
from tests.chaos.plan import CLOCKS, MOST_AHEAD_SECONDS, PLACES, Kind, plan
from tests.chaos.verdict import Finding, Seen, Told
from tests.e2e.fleet import NUMBERS_OF_A_WORKER
from tollspan.budget import Account, Balance

FIRST, KILLED = NUMBERS_OF_A_WORKER, 2 * NUMBERS_OF_A_WORKER
STORED = {FIRST: 10, FIRST + 1: 20, KILLED: 30}
ROWS = {str(number): (1, cost) for number, cost in STORED.items()}
TOLD = Told(
    customer="tight",
    billed={**STORED, KILLED + 1: 40},
    stored=STORED,
    at_servers=(ROWS, ROWS),
    killed=frozenset((2,)),
    threads=1,
    failed=("GateUnavailableError: away",),
)
ACCOUNT = Account(budget_id="tight", scope="", period="", limit=105)
BALANCE = Balance(account=ACCOUNT, posted=60, held=0, unresolved=40)


def broken(findings: list[Finding]) -> list[str]:
    return [one.claim for one in findings if not one.holds]


@pytest.mark.parametrize("seconds", [15, 600])
def test_a_seed_draws_the_same_plan_with_every_kind_and_nothing_breaks_twice_at_once(
    seconds: int,
) -> None:
    for seed in range(50):
        faults = plan(seed, seconds)
        assert faults == plan(seed, seconds)
        assert {one.kind for one in faults} == set(Kind)
        whole_at: dict[tuple[Kind, int], float] = {}
        for one in faults:
            assert one.place < PLACES.get(one.kind, 1)
            assert one.at_seconds >= whole_at.get((one.kind, one.place), 0.0)
            assert (one.by_seconds != 0) == (one.kind in CLOCKS)
            assert abs(one.by_seconds) <= MOST_AHEAD_SECONDS
            whole_at[one.kind, one.place] = one.ends_at_seconds
    assert plan(1, seconds) != plan(2, seconds)


def test_kinds_that_cannot_be_had_are_left_out() -> None:
    assert {one.kind for one in plan(1, 60, without=CLOCKS)} == set(Kind) - CLOCKS


def test_a_run_in_which_all_holds_is_judged_so() -> None:
    findings = [*verdict.of_calls(TOLD), *verdict.of_budget(BALANCE, [TOLD])]
    findings.append(verdict.of_the_last_call(BALANCE, refused=1, bound=10))
    seen = Seen(looks=1, worst_nanousd=-5, worst_bill_nanousd=-5, server_looks=1, too_many=0)
    assert broken([*findings, *verdict.of_watching(seen)]) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"stored": {**STORED, FIRST: 11}}, id="an event of another cost"),
        pytest.param({"stored": {**STORED, FIRST + 9: 1}}, id="an event of no call"),
        pytest.param({"at_servers": (ROWS, {**ROWS, str(FIRST): (2, 10)})}, id="twice at one"),
        pytest.param({"at_servers": (ROWS, {str(FIRST): (1, 10)})}, id="missing at one"),
        pytest.param({"at_servers": ({**ROWS, "7": (1, 1)}, ROWS)}, id="of nobody at one"),
        pytest.param({"killed": frozenset()}, id="lost without a kill"),
        pytest.param({"threads": 0}, id="more lost than were in flight"),
        pytest.param({"failed": ("APIConnectionError: broken",)}, id="a call that broke"),
    ],
)
def test_what_is_wrong_with_calls_is_noticed(changes: dict[str, object]) -> None:
    assert broken(verdict.of_calls(msgspec.structs.replace(TOLD, **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"posted": 59}, id="less posted than spent"),
        pytest.param({"posted": 61}, id="more posted than spent"),
        pytest.param({"held": 1}, id="something held"),
        pytest.param({"unresolved": 39}, id="a killed call that is not counted"),
        pytest.param({"unresolved": 46}, id="more than the limit"),
        pytest.param({"account": msgspec.structs.replace(ACCOUNT, limit=99)}, id="a larger bill"),
    ],
)
def test_what_is_wrong_with_a_budget_is_noticed(changes: dict[str, object]) -> None:
    assert broken(verdict.of_budget(msgspec.structs.replace(BALANCE, **changes), [TOLD]))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"worst_nanousd": 1}, id="a limit passed for a moment"),
        pytest.param({"worst_bill_nanousd": 1}, id="a bill beyond the limit for a moment"),
        pytest.param({"too_many": 1}, id="a call counted twice for a moment"),
        pytest.param({"looks": 0}, id="nobody looked"),
    ],
)
def test_what_was_wrong_for_a_moment_is_noticed(changes: dict[str, int]) -> None:
    seen = Seen(looks=1, worst_nanousd=0, worst_bill_nanousd=0, server_looks=1, too_many=0)
    assert broken(verdict.of_watching(msgspec.structs.replace(seen, **changes)))


def test_a_budget_that_was_not_used_up_is_noticed() -> None:
    assert not verdict.of_the_last_call(BALANCE, refused=0, bound=10).holds
    assert not verdict.of_the_last_call(BALANCE, refused=1, bound=5).holds
