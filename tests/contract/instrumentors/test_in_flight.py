"""A call that policies count in flight is counted no more once it has ended, however it ends."""

from __future__ import annotations

import msgspec
import pytest

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import KITS
from tests.contract.instrumentors.outcomes import CASES
from tests.contract.instrumentors.stage import Stage
from tollspan.budget import Policy

NONE = Policy(id="none", most_in_flight=0, per=("model",), on_violation="shadow")
"""Every call is one too many, and says so, and is counted all the same."""


@pytest.mark.parametrize(
    ("kit", "way", "name"),
    [
        pytest.param(kit, way, name, id=f"{kit}-{way}-{name}")
        for kit in KITS
        if kit.stands_for_others
        for name, case in CASES.items()
        if case.has(kit) and not name.startswith(("status_", "connect"))
        for way in case.ways
    ],
    indirect=["way"],
)
def test_however_a_call_ends_it_is_in_flight_no_more(stage: Stage, kit: Kit, name: str) -> None:
    gate = stage.installed.gate
    gate.use(msgspec.structs.replace(gate.rules, policies=(NONE,)))
    CASES[name].happen(stage)
    stage.collect()
    assert stage.event().decision.rule_ids == ("none",), "nobody counted it"
    assert gate.in_flight == 0
