"""The integers of the Redis scripts are Python's, far beyond what Lua's own numbers hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.contract.authority.making import Holder, settlement, sums
from tests.contract.ledger.making import account
from tests.services import RedisServer
from tollspan import ledger
from tollspan.budget import ROOM_SHARE, Refusal, size
from tollspan.ledger import RedisAuthority

pytestmark = pytest.mark.service

NUMBERS = (Path(ledger.__file__).parent / "redis_scripts" / "_numbers.lua").read_text()
SUMS = (
    NUMBERS
    + """
local a, b = number(ARGV[1]), number(ARGV[2])
return {
  text(a), text(add(a, b)), text(minus(a, b)), less(a, b) and 'less' or 'not',
  text(least(a, b)), text(most(a, b)), text(share(a, tonumber(ARGV[3]))),
}
"""
)
LARGE = 1 << 63
amounts = st.integers(-LARGE, LARGE) | st.builds(
    lambda power, more: 10**power + more, st.integers(0, 18), st.integers(-2, 2)
)
held = st.integers(0, 1 << 61) | st.integers(0, 1_000)


@pytest.fixture(scope="module")
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server.url) as made:
        yield made


@given(a=amounts, b=amounts)
@example(a=0, b=0)
@example(a=-1, b=1)
@example(a=2**53, b=-(2**53) - 1)
@example(a=999_999_999, b=1)
@settings(max_examples=200, deadline=None)
def test_sums_and_comparisons_are_exact(raw: redis.Redis, a: int, b: int) -> None:
    found = [one.decode() for one in cast("list[bytes]", raw.eval(SUMS, 0, a, b, ROOM_SHARE))]
    assert found == [
        *(str(a), str(a + b), str(a - b), "less" if a < b else "not"),
        *(str(min(a, b)), str(max(a, b)), str(a // ROOM_SHARE)),
    ]


@given(posted=held, unresolved=held, need=held, wish=held, limit=st.integers(-5, 1 << 62))
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_is_granted_is_what_the_rule_says(
    redis_server: RedisServer, posted: int, unresolved: int, need: int, wish: int, limit: int
) -> None:
    assert redis_server.ask("FLUSHALL") == "+OK\r\n"
    authority = RedisAuthority(redis_server.url, timeout_seconds=5)
    authority.open_epoch()
    where = account("any", limit=limit)
    authority.settle([settlement(None, (where, posted, unresolved))])
    room = limit - posted - unresolved
    answer = Holder(authority).asks(where, need, wish)
    if limit > 0 and need <= room:
        granted = size(need=need, wish=max(need, wish), room=room)
        assert sums(authority, where) == (posted, granted, unresolved)
    else:
        assert isinstance(answer, Refusal)
        assert answer.asked == (need,)
        assert sums(authority, where) == (posted, 0, unresolved)
    authority.close()
