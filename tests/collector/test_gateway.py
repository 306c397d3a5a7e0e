"""The gateway: traces are sampled whole, wherever their spans arrive; calls never are."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collector.backend import TraceBackend
from tests.collector.calls import COST_NANOUSD, call
from tests.collector.running import Collector, started, tracing
from tests.e2e.ingest import serving, total
from tests.e2e.waiting import wait_until
from tests.services import free_port

pytestmark = pytest.mark.service


def gateways(folder: Path, count: int, **said: str) -> list[Collector]:
    """Make replicas that know each other."""
    ports = [str(free_port()) for _ in range(count)]
    said["GATEWAY_PEERS"] = f"[{', '.join(f'127.0.0.1:{port}' for port in ports)}]"
    return [
        Collector(folder / f"gateway-{number}", "gateway", PEERS_PORT=port, **said)
        for number, port in enumerate(ports)
    ]


def test_every_call_is_counted_and_only_traces_of_note_are_kept(tmp_path: Path) -> None:
    with TraceBackend() as backend, serving(tmp_path / "server") as server:
        key = server.make_key()
        one, other = gateways(
            tmp_path,
            2,
            TOLLSPAN_ENDPOINT=server.url,
            TOLLSPAN_API_KEY=key,
            TRACES_ENDPOINT=backend.address,
            SAMPLED_PERCENT="0",
        )
        with started(one, other):
            # Of each trace the call comes to one replica, and what it is within to the other.
            with tracing(one.url) as first, tracing(other.url) as second:
                for number in range(40):
                    refused = {"tollspan.decision": "deny"} if number % 10 == 0 else {}
                    call(first, number, refused, around=second)
            wait_until(lambda: total(server, key)[0] == 36)
            wait_until(lambda: len(backend.spans) == 8, timeout_seconds=60)
            assert total(server, key) == (36, 36 * COST_NANOUSD)
    whole = {span.trace_id for span in backend.spans if span.name == "GET /ask"}
    assert len(whole) == 4
    assert whole == {span.trace_id for span in backend.spans if span.name != "GET /ask"}
