"""The disk under the ingest server is full: it says so, takes nothing, and goes on by itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import requests

from tests import harness
from tests.e2e.disks import full_disk_of
from tests.e2e.fleet import Fleet, billed_by_number, running
from tests.e2e.ingest import rows, send_the_rest, serving, total
from tests.e2e.probing import Probe
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply


@pytest.mark.skipif(sys.platform != "linux", reason="only there another process has limits set")
def test_a_full_disk_refuses_what_comes_and_loses_nothing_that_was_taken(tmp_path: Path) -> None:
    home = tmp_path / "host"
    harness.write_rules(home)
    with serving(tmp_path / "server") as server, FakeOpenAI(keep_requests=100_000) as fake:
        fake.script.respond = lambda _request, _headers, number: Reply(output_tokens=number % 20)
        key, others = server.make_key(), server.make_key(tenant="probe")
        settings = {
            "TOLLSPAN_ENDPOINT": server.url,
            "TOLLSPAN_API_KEY": key,
            "TOLLSPAN_AUTHORITY": "sqlite:",
            "TOLLSPAN_CONFIG": str(home / "tollspan.yaml"),
        }
        fleet = Fleet(
            fake, [home], threads=2, prompt_bytes=40, environ=settings, pace_seconds=0.1,
            ends_when_told=True,
        )  # fmt: skip
        with running(fleet, 1), Probe(server.url, others) as probe:
            wait_until(lambda: total(server, key)[0] > 0)
            with full_disk_of(server.pid):
                taken = probe.calls
                wait_until(lambda: probe.answers[503] >= 5)
                assert probe.calls <= taken + 1, "it takes what it can't store"
                ready = requests.get(f"{server.url}/readyz", timeout=30)
                assert ready.status_code == 503
                assert "disk" in ready.json()["error"]["message"]
                fleet.await_calls(30)  # no call waits for that
                assert total(server, others)[0] == probe.calls  # what it has is shown
            wait_until(lambda: probe.calls > taken + 5)
            fleet.finish()
        assert fleet.report.failed == []
        assert all("disk" in one for one in probe.refusals), probe.refusals
        assert (set(probe.answers), probe.without_time) == ({200, 503}, 0)
        assert total(server, others) == (probe.calls, probe.cost_nanousd)
        send_the_rest(home, **settings)
        assert rows(server, key, "step") == {
            str(number): (1, cost) for number, cost in billed_by_number(fake).items()
        }
