"""`tollspan webhooks` against a real server that sends to a real receiver."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.waiting import wait_until
from tests.fakes.hooks import FakeHooks
from tests.integration.cli.conftest import Run
from tests.serving import RunningServer, running_server
from tollspan.cli import _webhooks_parser
from tollspan.ledger.central import DELIVERY_STATES, NOTICE_KINDS


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path / 'server.db'}"
    with running_server(
        where, private_webhooks=True, webhook_pause_seconds=0.05, webhook_seconds=1.0
    ) as running:
        monkeypatch.setenv("TOLLSPAN_ENDPOINT", running.url)
        monkeypatch.setenv("TOLLSPAN_API_KEY", running.key)
        yield running


def test_the_options_name_what_there_is() -> None:
    assert _webhooks_parser.EVENTS == NOTICE_KINDS
    assert _webhooks_parser.STATES == DELIVERY_STATES


def test_a_target_is_made_told_of_changed_rules_looked_at_rotated_and_removed(
    server: RunningServer, tmp_path: Path, run: Run
) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("version: 1\n")
    with FakeHooks() as hooks:
        code, secret, said = run(
            "webhooks", "add", hooks.url, "--events", "rules_changed", "--label", "ops"
        )
        assert code == 0
        (listed,) = json.loads(run("webhooks", "list", "--json")[1])
        assert (listed["events"], listed["label"]) == (["rules_changed"], "ops")
        assert listed["id"] in said
        assert secret.strip() not in str(listed)
        assert run("rules", "put", str(rules))[0] == 0
        wait_until(lambda: len(hooks.told) == 1)
        assert hooks.told[0].is_signed_by(secret.strip())
        assert hooks.told[0].json["type"] == "rules_changed"
        assert hooks.told[0].json["data"]["version"] == 1
        name = listed["id"]
        wait_until(lambda: "it answered 200" in run("webhooks", "deliveries", name)[1])
        (delivery,) = json.loads(run("webhooks", "deliveries", name, "--json")[1])
        assert run("webhooks", "deliveries", name, "--state", "dead", "--json")[1] == "[]\n"
        rotated = json.loads(run("webhooks", "rotate", name, "--keep", "0s", "--json")[1])
        assert run("webhooks", "replay", name, delivery["id"], "--json")[0] == 0
        wait_until(lambda: len(hooks.told) == 2)
        assert hooks.told[1].id == delivery["id"]
        assert hooks.told[1].is_signed_by(rotated["secret"])
        assert not hooks.told[1].is_signed_by(secret.strip())
        assert run("webhooks", "replay", name)[0] == 2
        assert run("webhooks", "replay", name, "--dead")[1] == "0 deliveries will be sent again\n"
        assert run("webhooks", "replay", name, "whd_" + "0" * 32)[0] == 1
        assert run("webhooks", "remove", name)[0] == 0
        assert run("webhooks", "list", "--json")[1] == "[]\n"
        code, _, problem = run("webhooks", "remove", name)
        assert (code, "answers 404" in problem) == (1, True)
    assert server.ledger.webhooks.all() == []
