"""The Redis authority, on the session's own server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import redis

from tests.contract.authority.kits import SETTINGS
from tollspan.budget import SharedAuthority
from tollspan.ledger import RedisAuthority


class RedisKit:
    """A Redis with nothing in it, and a clock that a test sets."""

    largest = 1 << 62

    def __init__(self, url: str) -> None:
        self._url = url
        self._ahead = 0
        self._clients: list[SharedAuthority] = []
        self._raw = redis.Redis.from_url(url)
        self._copy: dict[bytes, bytes] = {}
        self.authority: SharedAuthority = self.other()
        self.authority.open_epoch()

    def other(self) -> SharedAuthority:
        made = RedisAuthority(
            self._url,
            life_seconds=SETTINGS.life_seconds,
            horizon_seconds=SETTINGS.horizon_seconds,
            timeout_seconds=10,
            clock=lambda: time.time_ns() // 1_000_000 + self._ahead,
        )
        self._clients.append(made)
        return made

    def advance(self, seconds: float) -> None:
        self._ahead += int(seconds * 1_000)

    def backup(self) -> None:
        keys = cast("list[bytes]", self._raw.keys("*"))
        self._copy = {key: cast("bytes", self._raw.dump(key)) for key in keys}

    def restore(self) -> None:
        self._raw.flushall()
        for key, value in self._copy.items():
            self._raw.restore(key, 0, value)

    def lose(self) -> None:
        self._raw.flushall()

    def close(self) -> None:
        for one in self._clients:
            one.close()
        self._raw.close()


@contextmanager
def redis_kit(url: str) -> Iterator[RedisKit]:
    kit = RedisKit(url)
    try:
        yield kit
    finally:
        kit.close()
