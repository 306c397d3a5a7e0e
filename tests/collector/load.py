"""Clients of a fleet: they ask, have texts summed up and tickets sorted, until nobody may."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests
from redis import Redis, RedisError

from tests.collector.fleet import PROGRAMS, Fleet

_REFUSED = "BudgetExceededError"
_TIMEOUT_SECONDS = 30
_QUESTIONS = ("How high is the toll?", "Where can I pay?", "Why was I charged twice?")
_TEXT = "The bridge was closed from two to four for repairs, and nobody was charged meanwhile. " * 2


@dataclass(kw_only=True)
class Tally:
    """What became of the calls of one program, as its clients see it.

    Attributes:
        answered: How many were answered.
        refused: How many the budget refused.
        failed: What was said of any others.
    """

    answered: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)

    def note(self, problem: str | None) -> None:
        """Note what became of one."""
        if problem is None:
            self.answered += 1
        elif problem.startswith(_REFUSED):
            self.refused += 1
        else:
            self.failed.append(problem)

    @property
    def ended(self) -> int:
        """How many have ended."""
        return self.answered + self.refused + len(self.failed)


class Load:
    """Clients of a fleet's programs, one thread for each program.

    Attributes:
        tallies: By program.
        most_counted: The most that was counted in the budget at any time that somebody looked.
        is_over: Every program was refused so often as was asked for, or a call failed.

    Args:
        fleet: It runs.
        pace_seconds: How long a client rests between two calls.
        refusals: It is over when each of the programs has had so many.
    """

    def __init__(self, fleet: Fleet, *, pace_seconds: float = 0.25, refusals: int = 5) -> None:
        self.fleet = fleet
        self.tallies = {name: Tally() for name in PROGRAMS}
        self.most_counted = 0
        self._pace_seconds, self._refusals = pace_seconds, refusals
        self._is_ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Have clients call until it is over, or the block ends."""
        ways: Mapping[str, Callable[[int], str | None]] = {
            "chat": self._ask, "summaries": self._sum_up, "worker": self._have_sorted,
        }  # fmt: skip
        threads = [
            threading.Thread(target=self._go_on, args=(name, ways[name]), name=name, daemon=True)
            for name in PROGRAMS
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_ended.set()
            for thread in threads:
                thread.join(_TIMEOUT_SECONDS)

    @property
    def is_over(self) -> bool:
        tallies = self.tallies.values()
        return all(one.refused >= self._refusals for one in tallies) or any(
            one.failed for one in tallies
        )

    def look(self) -> Mapping[str, str]:
        """Return how the budget stands, and remember the most that was ever counted there."""
        row = self.fleet.budget()
        counted = sum(int(row[name]) for name in ("posted", "held", "unresolved"))
        self.most_counted = max(self.most_counted, counted)
        return row

    def _go_on(self, name: str, call: Callable[[int], str | None]) -> None:
        tally = self.tallies[name]
        while not (self.is_over or self._is_ended.is_set()):
            began = time.monotonic()
            try:
                tally.note(call(tally.ended))
            except (OSError, ValueError, RedisError, AssertionError) as error:
                tally.note(f"{type(error).__name__}: {error}")
            self._is_ended.wait(max(0.0, self._pace_seconds + began - time.monotonic()))

    # -- the programs' clients: each returns what went wrong, or None --

    def _ask(self, number: int) -> str | None:
        question = {"question": _QUESTIONS[number % len(_QUESTIONS)]}
        url = f"{self.fleet.programs['chat'].url}/chat"
        answer = requests.post(url, json=question, timeout=_TIMEOUT_SECONDS)
        said: Mapping[str, Any] = answer.json()
        return None if answer.status_code == 200 else str(said["detail"])

    def _sum_up(self, number: int) -> str | None:
        url = self.fleet.programs["summaries"].url
        answer = requests.post(url, data=_TEXT.encode(), timeout=_TIMEOUT_SECONDS)
        return None if answer.status_code == 200 else answer.text

    def _have_sorted(self, number: int) -> str | None:
        with Redis.from_url(self.fleet.jobs, socket_timeout=2 * _TIMEOUT_SECONDS) as queue:
            queue.rpush("jobs", json.dumps({"id": number, "text": _QUESTIONS[-1]}))
            taken = queue.blpop(["done"], timeout=_TIMEOUT_SECONDS)
        assert taken, "no worker takes jobs"
        done: Mapping[str, Any] = json.loads(taken[1])
        assert done["id"] == number, "a job was done twice"
        return done.get("error")
