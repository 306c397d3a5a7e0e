"""`tollspan serve` as a new user runs it, and as a machine that fails kills it."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import msgspec
import pytest
import requests

from tests import harness
from tests.contract.ledger.making import event, new_id
from tests.e2e.ingest import COMMAND, ServeCommand, rows, serving
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tests.unit.server.otlp.bodies import CHAT, json_body, span
from tollspan.exporter import Shipper
from tollspan.ledger import LedgerReader, SQLiteLedger
from tollspan.usage import TollspanError

DAY_NS = 86_400 * 10**9
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


def test_its_own_prices_its_age_window_and_its_proxies_are_said_on_the_command_line(
    tmp_path: Path,
) -> None:
    prices = tmp_path / "own.yaml"
    prices.write_text(
        "version: 1\nmodels:\n  vllm/llama-70b:\n    usd_per_million: {input: 3, output: 5}\n"
    )
    said = ("--prices", str(prices), "--oldest-days", "1", "--ahead-seconds", "0",
            "--requests-per-second", "0", "--forwarded-allow-ips", "10.0.0.0/8")  # fmt: skip
    with serving(tmp_path / "server", *said) as server:
        key = server.make_key()
        now = time.time_ns()
        model: dict[str, object] = {
            **CHAT, "gen_ai.provider.name": "vllm", "gen_ai.request.model": "llama-70b",
            "gen_ai.response.model": "llama-70b", "gen_ai.usage.cache_read.input_tokens": 0,
        }  # fmt: skip
        spans = [
            span(number, attributes=model, startTimeUnixNano=str(at), endTimeUnixNano=str(at + 1))
            for number, at in enumerate((now, now - 2 * DAY_NS, now + 60 * 10**9), 1)
        ]
        answer = requests.post(
            f"{server.url}/v1/traces", json_body(*spans), timeout=30,
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.json()["partialSuccess"]["rejectedSpans"] == "2"
        for word in ("too_old", "in_the_future"):
            assert word in answer.text
        assert rows(server, key, "model") == {"llama-70b": (1, 8 * 3_000 + 11 * 5_000)}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--prices", "missing.yaml"), "missing.yaml"),
        (("--forwarded-allow-ips", "10.0.0.0/33"), "no address or network"),
        (("--oldest-days", "0"), "whole number from 1"),
    ],
)
def test_what_makes_no_sense_is_refused_before_it_listens(
    tmp_path: Path, options: tuple[str, str], said: str
) -> None:
    env = harness.environment(tmp_path, "http://127.0.0.1:9")
    done = harness.run([COMMAND, "serve", "--port", "0", *options], env)
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


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
