"""`tollspan serve` as a new user runs it, and as a machine that fails kills it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import requests

from tests import harness
from tests.contract.ledger.making import event, new_id
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tests.services import free_port
from tollspan.exporter import Shipper
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.usage import TollspanError

COMMAND = str(Path(sys.executable).parent / "tollspan")
PROGRAM = """
from openai import OpenAI
from tollspan.api import attribution
client = OpenAI(max_retries=0)
for number in range(12):
    with attribution(customer=f"c{number % 3}"):
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
        )
"""


class ServeCommand:
    """`tollspan serve` in a process of its own, which can be killed and started again."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._env = harness.environment(home, "http://127.0.0.1:9")
        self._process: subprocess.Popen[str] | None = None
        home.mkdir()

    def start(self) -> str:
        """Start it; return what it says once it listens."""
        self._process = subprocess.Popen(
            [COMMAND, "serve", "--port", str(self.port)],
            env=self._env, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end(self, *, is_killed: bool) -> int:
        """End it; return its exit code."""
        assert self._process is not None
        if is_killed:
            self._process.kill()
        else:
            self._process.terminate()
        code = self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def make_key(self) -> str:
        """Make a key as a new user does."""
        done = harness.run(
            [COMMAND, "keys", "create", "--scopes", "ingest,read", "--json"], self._env
        )
        assert done.returncode == 0, done.stderr
        key: str = json.loads(done.stdout)["key"]
        return key

    def ask(self, path: str, key: str) -> Mapping[str, object]:
        """Ask for something."""
        answer = requests.get(
            self.url + path, headers={"Authorization": f"Bearer {key}"}, timeout=10
        )
        assert answer.status_code == 200, answer.text
        found: Mapping[str, object] = answer.json()
        return found


@contextlib.contextmanager
def serving(home: Path) -> Iterator[ServeCommand]:
    server = ServeCommand(home)
    try:
        assert server.url in server.start()
        yield server
    finally:
        server.end(is_killed=True)


def rows(server: ServeCommand, key: str, group_by: str = "customer") -> dict[str, tuple[int, int]]:
    """Return calls and nano-USD by the values of a dimension."""
    found = server.ask(f"/v1/usage?group_by={group_by}", key)["rows"]
    assert isinstance(found, list)
    return {row[group_by]: (row["calls"], int(row["cost_nanousd"])) for row in found}


def test_a_new_users_program_is_on_the_server_to_the_nanodollar(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, FakeOpenAI() as fake:
        key = server.make_key()
        home = tmp_path / "app"
        harness.write_rules(home)
        env = harness.environment(
            home, fake.base_url, TOLLSPAN_ENDPOINT=server.url, TOLLSPAN_API_KEY=key
        )
        done = harness.run(harness.program(PROGRAM), env)
        assert (done.returncode, done.stderr) == (0, "")
        assert harness.run([COMMAND, "outbox", "send"], env).returncode == 0
        bills: dict[str, tuple[int, int]] = {}
        for one in harness.usage_events(home):
            customer = str(one.call.attribution.customer)
            calls, cost = bills.get(customer, (0, 0))
            bills[customer] = (calls + 1, cost + (one.cost.amount_nanousd or 0))
        assert sum(calls for calls, _ in bills.values()) == 12
        assert rows(server, key) == bills


def test_it_ends_in_good_order_when_it_is_told(tmp_path: Path) -> None:
    server = ServeCommand(tmp_path / "server")
    server.start()
    assert server.end(is_killed=False) in (0, -15)


def test_a_server_that_is_killed_again_and_again_has_every_event_once(tmp_path: Path) -> None:
    ledger = SQLiteLedger(tmp_path / "host")
    for number in range(3_000):
        made = event(new_id(), cost=number)
        call = msgspec.structs.replace(made.call, started_at_unix_ns=time.time_ns())
        ledger.post(msgspec.structs.replace(made, call=call), None)
    sent = list(LedgerReader(ledger.path).events())
    with serving(tmp_path / "server") as server:
        key = server.make_key()
        is_done = threading.Event()

        def ship() -> None:
            shipper = Shipper(ledger, server.url, key, most_events=20)
            while ledger.outbox.waits(shipper.destination).count:
                with contextlib.suppress(TollspanError):
                    shipper.ship()
            is_done.set()

        thread = threading.Thread(target=ship)
        thread.start()
        kills = 0
        while not is_done.wait(0.15) and kills < 6:
            server.end(is_killed=True)
            kills += 1
            server.start()
        thread.join(90)
        assert not thread.is_alive()
        assert kills >= 2
        wait_until(lambda: rows(server, key, "model") != {})
        assert rows(server, key, "model") == {"gpt-4o-mini": (3_000, sum(range(3_000)))}
    assert len(sent) == 3_000
    ledger.close()
