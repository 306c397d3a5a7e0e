"""Whoever changes something on a real server is in its audit log, and `tollspan audit` shows it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Run
from tests.serving import running_server
from tollspan.cli import _author

RULES = "version: 1\nbudgets: [{id: org, limit: 5 USD, window: month}]\n"


def test_every_change_is_in_the_audit_log(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"sqlite:{tmp_path / 'server.db'}"
    rules = tmp_path / "rules.yaml"
    rules.write_text(RULES)
    with running_server(where, private_webhooks=True) as server:
        monkeypatch.setenv("TOLLSPAN_ENDPOINT", server.url)
        monkeypatch.setenv("TOLLSPAN_API_KEY", server.key)
        monkeypatch.setenv("TOLLSPAN_AUTHORITY", server.url)
        monkeypatch.setenv("TOLLSPAN_CONFIG", str(rules))

        def audit(*options: str) -> list[dict[str, Any]]:
            code, said, problem = run("audit", "--json", *options)
            assert (code, problem) == (0, "")
            found: list[dict[str, Any]] = json.loads(said)
            return found

        assert run("rules", "put", str(rules))[0] == 0
        added = json.loads(run("webhooks", "add", "http://127.0.0.1:9/x", "--json")[1])
        raising = ("budget", "raise", "org", "--by", "7 USD", "--reason", "a launch")
        code, said, problem = run(*raising)
        assert (code, problem) == (0, "")
        assert "12 USD left" in said
        assert run("outbox", "send")[0] == 0
        key = server.key.split("_")[1]
        found = audit()
        assert [one["action"] for one in found if one["action"] != "authority.opened"] == [
            "tenant.created", "key.created", "rules.changed", "webhook.created",
            "authority.credited", "budget.raise",
        ]  # fmt: skip
        actors = {one["action"]: one["actor"] for one in found}
        assert actors["rules.changed"] == actors["authority.credited"] == f"key {key}"
        assert actors["budget.raise"] == _author.author()
        raised, credited = found[-1], found[-2]
        assert raised["subject"] == credited["subject"]
        assert raised["details"]["reason"] == "a launch"
        assert raised["details"]["charges"] == credited["details"]["charges"]
        assert [one["posted"] for one in raised["details"]["charges"]] == ["-7000000000"]
        assert audit("-n", "1") == found[-1:]
        (made,) = audit("--action", "webhook")
        assert made["subject"] == added["id"]
        assert audit("--until", "2026-01-01") == []
        assert audit("--since", "1h", "--db", where, "--tenant", "acme") == found
        assert added["secret"] not in json.dumps(found)
        assert server.key not in json.dumps(found)
        assert "rules.changed" in run("audit")[1]
        pages = server.ask("GET", "/v1/audit?limit=4").json
        rest = server.ask("GET", f"/v1/audit?limit=500&cursor={pages['next']}").json
        assert pages["entries"] + rest["entries"] == found
        for wrong in ("cursor=x", "action=Key", "since=yesterday", "limit=0", "other=1"):
            assert server.ask("GET", f"/v1/audit?{wrong}").status == 400
        other = server.make_key("other")
        assert {
            one["tenant"] for one in server.ask("GET", "/v1/audit", key=other).json["entries"]
        } == {"other"}
        assert server.ask("GET", "/v1/audit", key=server.make_key("acme", "read")).status == 403
        everything = server.ask("GET", "/v1/audit", key=server.make_key("*", "admin")).json
        assert {one["tenant"] for one in everything["entries"]} == {"acme", "other", "*"}
