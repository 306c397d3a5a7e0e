"""What a client is and what it sends: the same as without us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests import harness
from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import representative, streaming
from tests.contract.instrumentors.stage import Caller, Stage
from tests.contract.instrumentors.ways import Way
from tollspan.api import attribution

PROXY = "http://127.0.0.1:9"
OURS: dict[str, Any] = {"customer": "acme", "user": "someone@example.com", "tags": {"tier": "free"}}


def settings(client: Any) -> dict[str, object]:
    """Return how a client behaves: time-outs, retries, connections, redirects, proxies."""
    http = client._client
    pool = http._transport._pool
    return {
        "client": type(client),
        "http": type(http),
        "transport": type(http._transport),
        "timeouts": (client.timeout, http.timeout),
        "retries": client.max_retries,
        "redirects": http.follow_redirects,
        "reads the environment": http.trust_env,
        "proxies": sorted(str(pattern.pattern) for pattern in http._mounts),
        "connections": (pool._max_connections, pool._max_keepalive_connections),
        "hooks": http.event_hooks,
    }


@representative
def test_a_client_is_made_as_without_us(
    kit: Kit, way: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", PROXY)

    async def make() -> dict[str, object]:
        client: Any = kit.clients[way.is_async](api_key="key")
        try:
            return settings(client)
        finally:
            await way.get(client.close())

    alone = way.run(make())
    with harness.installed(tmp_path):
        beside_us = way.run(make())
    assert beside_us == alone


def sent(stage: Stage) -> tuple[dict[str, str], object]:
    """Return headers and body of the last request; what differs from call to call is left out."""
    assert stage.fake.wait_idle()
    request = stage.fake.requests[-1]
    changing = ("host", "idempotency-key", "traceparent", "content-length")
    headers = {name: text for name, text in request.headers.items() if name not in changing}
    return headers, request.json


def test_a_call_sends_what_it_sends_without_us(stage: Stage) -> None:
    caller = stage.caller()
    with stage.bare():
        stage.way.run(caller.ask())
        alone = sent(stage)
    with attribution(**OURS):
        stage.way.run(caller.ask())
    assert sent(stage) == alone
    assert "acme" not in json.dumps(alone)


@streaming
def test_a_stream_sends_what_it_sends_without_us_and_asks_for_its_usage(stage: Stage) -> None:
    async def drain(caller: Caller) -> None:
        await caller.way.loop(await caller.stream())

    caller = stage.caller()
    with stage.bare():
        stage.way.run(drain(caller))
        headers, alone = sent(stage)
    with attribution(**OURS):
        stage.way.run(drain(caller))
    assert isinstance(alone, dict)
    streams = stage.kit.streams
    assert streams is not None
    more = {} if streams.says_usage_unasked else {"stream_options": {"include_usage": True}}
    assert sent(stage) == (headers, {**alone, **more})
