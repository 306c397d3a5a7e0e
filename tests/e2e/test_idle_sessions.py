"""One session in two programs: idle where nobody calls, and the same period for both until then."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import harness
from tests.fakes import FakeOpenAI

CALLS = """
import sys
from openai import OpenAI
from tollspan.api import CallDeniedError, attribution

client = OpenAI(max_retries=0)
for line in sys.stdin:
    try:
        with attribution(session="s"):
            client.chat.completions.create(
                model="gpt-4o-mini", max_tokens=20, messages=[{"role": "user", "content": "hi"}]
            )
        print("answered", flush=True)
    except CallDeniedError as denial:
        print(type(denial).__name__, flush=True)
"""
BUDGET = "{id: session, per: [session], limit: 3 calls, window: {idle: 10s}}"
LASTS_SECONDS = 11.0
WAYS = ("never", "always")


class Program:
    """A program that makes a call when it is told to."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def call(self) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("call\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def program(home: Path, base_url: str, leases: str) -> Iterator[Program]:
    env = harness.environment(home, base_url, TOLLSPAN_LEASES=leases)
    with subprocess.Popen(
        harness.program(CALLS),
        env=env,
        cwd=home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Program(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


def test_two_programs_share_a_session_until_both_were_silent(tmp_path: Path) -> None:
    with FakeOpenAI() as fake, ExitStack() as stack:
        pairs: list[tuple[Program, Program]] = []
        for leases in WAYS:
            home = harness.write_rules(tmp_path / leases, budgets=BUDGET).parent
            made = [stack.enter_context(program(home, fake.base_url, leases)) for _ in range(2)]
            pairs.append((made[0], made[1]))
        said = [[one.call(), other.call()] for one, other in pairs]
        assert said == [["answered"] * 2] * 2
        time.sleep(6)
        assert [one.call() for one, _ in pairs] == ["answered"] * 2
        time.sleep(6)  # the other one has been silent for longer than the idle time
        refused = [other.call() for _, other in pairs]
        assert refused == ["SessionLimitExceededError"] * 2
        time.sleep(LASTS_SECONDS + 1)
        assert [other.call() for _, other in pairs] == ["answered"] * 2
        assert [one.call() for one, _ in pairs] == ["answered"] * 2
    for leases in WAYS:
        charged = [
            charge.period
            for event in harness.usage_events(tmp_path / leases)
            for charge in event.charges
        ]
        first, second = sorted(set(charged))
        assert (charged.count(first), charged.count(second)) == (3, 2)
