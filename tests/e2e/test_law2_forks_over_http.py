"""Law 2 and forks, where an ingest server holds the money: each process has leases of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests import harness
from tests.e2e import fleet
from tests.fakes import FakeOpenAI
from tests.serving import RunningServer, running_server

# What each process is connected to, by the sockets of Linux.
CODE = """
import json, os, sys, time
from openai import OpenAI
from tollspan.api import attribution

PORT = int(os.environ["TOLLSPAN_AUTHORITY"].rpartition(":")[2])

def call():
    with attribution(step=str(os.getpid())), OpenAI(max_retries=0) as client:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
        )

def connections():
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    there = {f"socket:[{row[9]}]" for row in rows if int(row[2].split(":")[1], 16) == PORT}
    names = []
    for each in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{each}"))
        except OSError:  # the folder itself
            pass
    return there.intersection(names)

def child(end):
    reading, writing = os.pipe()
    before = connections()
    pid = os.fork()
    if pid == 0:
        inherited = connections() & before
        call()
        own = connections() - before
        os.write(writing, json.dumps([len(inherited), len(own)]).encode())
        end(0)
    os.close(writing)
    said = json.loads(os.read(reading, 100))
    assert os.waitpid(pid, 0)[1] == 0
    return [len(before), *said]

call()
time.sleep(1)
print(json.dumps([child(sys.exit), child(sys.exit), child(os._exit)]))
call()
"""


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """How many connections to the server there were at a fork, and in the child.

    Attributes:
        of_parent: The parent had so many.
        inherited: Of those the child has so many.
        own: The child made so many.
    """

    of_parent: int
    inherited: int
    own: int


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RunningServer]:
    with running_server(f"sqlite:{tmp_path / 'server.db'}", lease_life_seconds=2.5) as running:
        yield running


def test_a_forked_child_has_neither_its_parents_lease_nor_its_connection(
    tmp_path: Path, server: RunningServer
) -> None:
    home = tmp_path / "home"
    harness.write_rules(home)
    with FakeOpenAI() as fake:
        env = harness.environment(
            home,
            fake.base_url,
            TOLLSPAN_AUTHORITY=server.url,
            TOLLSPAN_API_KEY=server.key,
            TOLLSPAN_ACQUIRE_TIMEOUT="20",
        )
        done = harness.run(harness.program(CODE), env)
        assert (done.returncode, done.stderr) == (0, "")
        seen = msgspec.json.decode(done.stdout, type=list[Seen])
        assert len(seen) == 3
        assert all(one.of_parent and one.own for one in seen)
        assert not min(one.inherited for one in seen)  # one that is in use is closed after its use
        assert fake.hits == 5
        billed = fake.billed_nanousd
    leases: dict[str, str] = {}
    for event in harness.usage_events(home):
        assert event.lease_id is not None
        process = event.call.attribution.step or ""
        assert leases.setdefault(event.lease_id, process) == process
    assert len(set(leases.values())) == 4
    balance = fleet.settled(server.url, 100 * 10**9, key=server.key)
    assert (balance.posted, balance.held) == (billed, 0)
    assert balance.unresolved > 0, "the last child's lease ended with it, and is nobody else's"
