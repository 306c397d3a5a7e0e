"""Other people's instrumentors beside ours, in either order: same denials, one event a call."""

from __future__ import annotations

import functools
import importlib.util
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.contract.instrumentors.kit import Kit, Other
from tests.contract.instrumentors.kits import KITS
from tests.contract.instrumentors.programs.beside import run_apart
from tests.fakes import Reply
from tests.fakes.provider import FakeProvider
from tollspan.budget import Balance
from tollspan.usage import DecisionEvent, UsageEvent

CALLS, ADMITTED = 8, 5
REPLY = Reply(output_tokens=20)


@functools.cache
def limit(kit_name: str) -> str:
    """Return a limit that suffices for so many calls: the others' posts, and this one's bound."""
    (kit,) = [one for one in KITS if one.name == kit_name]
    with tempfile.TemporaryDirectory() as folder, kit.fake(REPLY) as fake:
        home = Path(folder)
        run(kit, fake, home, "tollspan", limit="100", calls=1)
        billed = fake.billed_nanousd
        bound = harness.usage_events(home)[0].decision.bound_nanousd
    assert bound is not None
    amount = (ADMITTED - 1) * billed + bound
    return f"{amount // 10**9}.{amount % 10**9:09}"


def run(
    kit: Kit, fake: FakeProvider, home: Path, *steps: str, limit: str, calls: int = CALLS
) -> dict[str, Any]:
    """Run the program; return what it reports."""
    harness.write_rules(home, limit=limit, hosts={"127.0.0.1": kit.provider})
    env = harness.environment(home, fake.root_url)
    return run_apart(env, kit, fake.root_url, calls, "provider", *steps)


def is_installed(other: Other) -> bool:
    """Say whether an instrumentor is there."""
    try:
        return importlib.util.find_spec(other.module) is not None
    except ModuleNotFoundError:
        return False


def assert_books(
    fake: FakeProvider, events: list[UsageEvent], denials: list[DecisionEvent], balance: Balance
) -> None:
    """See that every call is booked once, at what it cost."""
    assert len(events) == fake.hits == ADMITTED
    assert len(denials) == CALLS - ADMITTED
    assert {event.usage.status for event in events if event.usage} == {"reported"}
    assert balance.posted == fake.billed_nanousd
    assert balance.held == balance.unresolved == 0


@pytest.mark.parametrize("is_first", [False, True], ids=["after ours", "before ours"])
@pytest.mark.parametrize(
    ("kit", "other"),
    [pytest.param(kit, other, id=f"{kit}-{other}") for kit in KITS for other in kit.others],
)
def test_another_instrumentor_changes_no_denial_and_no_event(
    kit: Kit, other: Other, *, is_first: bool, tmp_path: Path
) -> None:
    if not is_installed(other):
        pytest.skip(f"{other.module} is not installed")
    amount = limit(kit.name)
    home = tmp_path / "home"
    steps = [other.name, "tollspan"] if is_first else ["tollspan", other.name]
    with kit.fake(REPLY) as fake:
        report = run(kit, fake, home, *steps, limit=amount)
        denied = ["BudgetExceededError"] * (CALLS - ADMITTED)
        assert report["outcomes"] == ["ok"] * ADMITTED + denied
        assert_books(fake, harness.usage_events(home), harness.denials(home), harness.balance(home))
    theirs = [span for span in report["spans"] if span["scope"] == other.scope]
    ours = [span for span in report["spans"] if span["scope"] == "tollspan"]
    assert len(theirs) >= ADMITTED
    # A refusal that the other one's span can't be seen to belong to has a span of ours.
    assert all(span["is_error"] for span in ours)
    assert len(ours) in (0, CALLS - ADMITTED)
    if not (is_first and other.replaces_funnel):
        ids = {event.call.id for event in harness.usage_events(home)}
        # OpenLLMetry's span of a message is never the current one: the SDK's own is marked there.
        assert ids <= {span["call_id"] for span in report["spans"]}
