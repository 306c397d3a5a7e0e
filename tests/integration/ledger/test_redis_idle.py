"""Owners of idle windows are forgotten in Redis by its own clock."""

from __future__ import annotations

from typing import cast

import pytest
import redis

from tests.contract.authority.redis_kit import redis_kit
from tests.contract.idle import IDLE_SECONDS, touch
from tollspan.budget import IDLE_MEMORY_SECONDS

pytestmark = pytest.mark.service


def test_an_owner_is_forgotten_a_day_after_its_period(redis_url: str) -> None:
    with redis_kit(redis_url) as kit, redis.Redis.from_url(redis_url) as raw:
        kit.authority.touch(touch(1))
        (key,) = cast("list[bytes]", raw.keys("*idle:*"))
        left = cast("int", raw.pttl(key)) / 1_000
    assert left == pytest.approx(IDLE_SECONDS * 1.1 + IDLE_MEMORY_SECONDS, abs=10)
