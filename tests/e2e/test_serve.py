"""`tollspan serve` as a new user runs it, and as a machine that fails kills it."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import msgspec

from tests import harness
from tests.contract.ledger.making import event, new_id
from tests.e2e.ingest import COMMAND, ServeCommand, rows, serving
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tollspan.exporter import Shipper
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.usage import TollspanError

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


def test_a_new_users_program_is_on_the_server_to_the_nanodollar(tmp_path: Path) -> None:
    with serving(tmp_path / "server") as server, FakeOpenAI() as fake:
        key = server.make_key()
        home = tmp_path / "app"
        harness.write_rules(home)
        env = harness.environment(
            home,
            fake.base_url,
            TOLLSPAN_ENDPOINT=server.url,
            TOLLSPAN_API_KEY=key,
            TOLLSPAN_ACQUIRE_TIMEOUT="20",
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
