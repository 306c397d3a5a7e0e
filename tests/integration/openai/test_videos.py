"""Videos: held by their length and size when they are asked for, settled when they are made."""

from __future__ import annotations

import io
from typing import Any

import pytest
from openai import AsyncOpenAI

from tests import harness
from tests.integration.openai.stage import Stage
from tollspan.usage import BudgetExceededError, CallDeniedError

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
_MS, _USD = 1_000, 10**9


def held(stage: Stage) -> int:
    """Return what is held; nothing is posted or unresolved yet."""
    stage.settle()
    balance = harness.balance(stage.home)
    assert (balance.posted, balance.unresolved) == (0, 0)
    return balance.held


@pytest.mark.parametrize(
    ("asked", "cost_nanousd"),
    [
        pytest.param({}, 4 * _USD // 10, id="what is not given"),
        pytest.param({"seconds": "12"}, 12 * _USD // 10, id="its length"),
        pytest.param({"model": "sora-2-pro"}, 4 * 3 * _USD // 10, id="its model"),
        pytest.param(
            {"model": "sora-2-pro", "size": "1792x1024", "seconds": "8"}, 4 * _USD, id="its size"
        ),
    ],
)
def test_a_video_is_held_and_settled_by_its_length_and_size(
    stage: Stage, asked: Any, cost_nanousd: int
) -> None:
    client = stage.client()
    video = client.videos.create(prompt="a fox", **asked)
    assert stage.events() == []
    assert held(stage) == cost_nanousd
    for _ in range(2):
        assert client.videos.retrieve(video.id).status == "completed"
    event = stage.event()
    assert event.cost.amount_nanousd == stage.fake.billed_nanousd == cost_nanousd
    assert event.cost.status == "priced"
    assert event.marks == ("deferred",)
    assert event.outcome.response.id == video.id


def test_a_picture_to_begin_with_changes_nothing(stage: Stage) -> None:
    client = stage.client()
    picture = ("fox.png", io.BytesIO(b"\x89PNG"), "image/png")
    video = client.videos.create(prompt="a fox", input_reference=picture)
    client.videos.with_raw_response.retrieve(video.id)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd > 0


def test_a_video_that_failed_leaves_its_bound_unresolved(stage: Stage) -> None:
    client = stage.client()
    video = client.videos.create(prompt="fail to draw a fox")
    bound = held(stage)
    client.videos.retrieve(video.id)
    event = stage.event()
    assert event.outcome.status == "error"
    assert event.outcome.error_type == "moderation_blocked"
    assert event.cost.amount_nanousd is None
    assert harness.balance(stage.home).unresolved == bound


def test_a_video_that_does_not_fit_is_refused(stage: Stage) -> None:
    harness.write_rules(stage.home, limit="0.7")
    stage.installed.watcher.look()
    client = stage.client()
    client.videos.create(prompt="a fox")
    with pytest.raises(BudgetExceededError):
        client.videos.create(prompt="a fox")
    assert stage.fake.hits == 1


def test_seconds_are_counted_by_budgets_of_seconds(stage: Stage) -> None:
    harness.write_rules(stage.home, budgets="{id: all, limit: 10 seconds}")
    stage.installed.watcher.look()
    client = stage.client()
    video = client.videos.create(prompt="a fox", seconds="8")
    with pytest.raises(BudgetExceededError):
        client.videos.create(prompt="a fox")
    client.videos.retrieve(video.id)
    stage.settle()
    assert harness.balance(stage.home).posted == 8 * _MS


def test_a_length_that_makes_no_sense_has_no_bound(stage: Stage) -> None:
    odd: Any = "long"
    with pytest.raises(CallDeniedError, match="video_out_ms"):
        stage.client().videos.create(prompt="a fox", seconds=odd)
    assert stage.fake.hits == 0


def test_an_event_loop_makes_videos_too(stage: Stage) -> None:
    async def work(client: AsyncOpenAI) -> None:
        video = await client.videos.create_and_poll(prompt="a fox", poll_interval_ms=1)
        assert video.status == "completed"

    stage.run(work)
    assert stage.event().cost.amount_nanousd == stage.fake.billed_nanousd > 0
