"""Freezes the bytecodes that tollspan adds to a call; `benchmarks/RESULTS.md` has the method.

Counts are the same in every run, so a ceiling that is crossed is a change in the code, ours or a
dependency's. Ceilings of parts are what was measured when they were set, and a third.
"""

from __future__ import annotations

import sys

import pytest

from benchmarks import overhead
from benchmarks.overhead import Added, FamilyResult

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="bytecodes differ by version; they are counted on 3.11"
)
pytest.importorskip("httpx2", reason="the in-process transport is of the SDK's newer versions")

# Part -> ceilings for a sync call and for a stream of 51 chunks, everything on, 5 budgets.
PARTS = {
    "wrapper": (375, 390),
    "new call": (148, 148),
    "extract": (325, 485),
    "count bytes": (45, 45),
    "gate": (290, 290),
    "bound": (65, 65),
    "hold": (285, 285),
    "span start": (375, 380),
    "span start: SDK": (2_150, 2_240),
    "foreign check": (165, 165),
    "context": (45, 45),
    "client": (20, 45),
    "stream": (20, 360),
    "chunks": (0, 2_950),
    "usage": (420, 640),
    "closing": (95, 120),
    "event": (415, 415),
    "rate": (100, 100),
    "post": (100, 100),
    "span end": (340, 350),
    "span end: SDK": (1_640, 1_730),
    "metrics": (45, 45),
}


@pytest.fixture(scope="module")
def everything() -> FamilyResult:
    """Count with everything on and 5 budgets."""
    return overhead.measure("tollspan_all_5", ("sync", "stream_asked", "tools_10"), cpu=False)


@pytest.fixture(scope="module")
def core() -> FamilyResult:
    """Count without span and metrics, 1 budget."""
    return overhead.measure("tollspan_core_1", ("sync",), cpu=False)


def _check(added: Added, ceiling: int) -> None:
    assert added.is_steady, "the count differs from call to call"
    assert added.bytecodes <= ceiling, added.parts


def test_a_call_with_everything_on_stays_below_its_ceiling(everything: FamilyResult) -> None:
    _check(everything.shapes["sync"], 5_500)


def test_a_call_without_span_and_metrics_stays_below_its_ceiling(core: FamilyResult) -> None:
    _check(core.shapes["sync"], 1_800)


def test_a_stream_stays_below_its_ceiling(everything: FamilyResult) -> None:
    _check(everything.shapes["stream_asked"], 7_500)


@pytest.mark.parametrize(("shape", "column"), [("sync", 0), ("stream_asked", 1)])
def test_each_part_stays_below_its_ceiling(
    everything: FamilyResult, shape: str, column: int
) -> None:
    found = everything.shapes[shape].parts
    assert set(found) <= set(PARTS), "a new part needs a ceiling"
    too_much = {
        part: (count, PARTS[part][column])
        for part, count in found.items()
        if count > PARTS[part][column]
    }
    assert not too_much


def test_tools_are_counted_in_one_go(everything: FamilyResult) -> None:
    sync, tools = everything.shapes["sync"], everything.shapes["tools_10"]
    assert tools.bytecodes - sync.bytecodes <= 600
