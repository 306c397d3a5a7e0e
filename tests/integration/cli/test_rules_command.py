"""`tollspan rules` against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import Run
from tests.serving import RunningServer, running_server
from tollspan.ledger.central import RulesDocument

FIRST = "version: 1\nbudgets: [{id: all, limit: 5 USD}]  # for everybody\n"
SECOND = "version: 1\nbudgets: [{id: all, limit: 2 USD}, {id: day, limit: 1 USD, window: day}]\n"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}") as server:
        yield server


@pytest.fixture
def tenant(request: pytest.FixtureRequest) -> str:
    """Each test's own."""
    return f"t{abs(hash(request.node.name)) % 10**9}"


@pytest.fixture
def server(running: RunningServer, tenant: str, monkeypatch: pytest.MonkeyPatch) -> RunningServer:
    monkeypatch.setenv("TOLLSPAN_ENDPOINT", running.url)
    monkeypatch.setenv("TOLLSPAN_API_KEY", running.make_key(tenant))
    return running


@pytest.fixture
def documents(tmp_path: Path) -> tuple[str, str]:
    """Files of rules."""
    paths = tmp_path / "first.yaml", tmp_path / "second.yaml"
    for path, text in zip(paths, (FIRST, SECOND), strict=True):
        path.write_text(text)
    return str(paths[0]), str(paths[1])


def test_rules_are_put_shown_listed_and_rolled_back(
    server: RunningServer, documents: tuple[str, str], run: Run
) -> None:
    assert run("rules", "get")[::2] == (1, "tollspan rules: the tenant has none yet\n")
    first, second = documents
    code, said, _ = run("rules", "put", first)
    assert (code, said.splitlines()[-1]) == (0, "version 1 is in force")
    assert "new     all: at most 5.00 USD in all, for good;" in said
    assert run("rules", "put", first)[1].splitlines()[-1] == "version 1 was in force already"
    assert run("rules", "get") == (0, FIRST, "version 1\n")
    said = run("rules", "put", second)[1]
    assert "changed all: at most 2.00 USD" in said
    assert "before all: at most 5.00 USD" in said.replace("  ", " ")
    assert "new     day: at most 1.00 USD on each day" in said
    said = run("rules", "roll-back", "1")[1]
    assert "removed day:" in said
    assert said.splitlines()[-1] == "version 3 is in force"
    code, said, _ = run("rules", "history", "--json")
    assert [(one["version"], one["rolled_back_to"]) for one in json.loads(said)] == [
        (3, 1), (2, None), (1, None),
    ]  # fmt: skip
    lines = run("rules", "history", "-n", "1")[1].splitlines()
    assert len(lines) == 3
    assert "in force, version 1 again" in lines[2]
    assert run("rules", "get", "2")[1] == SECOND
    assert json.loads(run("rules", "get", "2", "--json")[1])["text"] == SECOND
    code, _, problem = run("rules", "roll-back", "9")
    assert code == 1
    assert "answers 404: there is no version 9 of the rules" in problem
    assert server.url in problem


def test_what_changes_is_said_in_json_too_and_may_be_only_looked_at(
    server: RunningServer, documents: tuple[str, str], run: Run
) -> None:
    first, second = documents
    run("rules", "put", first)
    said = json.loads(run("rules", "put", "--dry-run", "--json", second)[1])
    assert (said["is_new"], said["rules"]) == (False, None)
    assert [(one["what"], one["id"]) for one in said["changes"]] == [
        ("changed", "all"), ("added", "day"),
    ]  # fmt: skip
    assert run("rules", "get")[1] == FIRST
    said = json.loads(run("rules", "put", "--json", second)[1])
    assert (said["is_new"], said["rules"]["version"]) == (True, 2)


def test_a_wrong_document_is_told_as_config_check_tells_it_and_never_sent(
    server: RunningServer, tenant: str, tmp_path: Path, run: Run
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("version: 1\nbudgets:\n  - {id: all, limit: 5 EUR}\n  - {id: b, limti: 1}\n")
    code, said, _ = run("rules", "put", str(wrong))
    assert code == 1
    assert said == run("config", "check", str(wrong))[1]
    assert "wrong.yaml:3:" in said
    assert "wrong.yaml:4:" in said
    found = json.loads(run("rules", "put", "--json", str(wrong))[1])["findings"]
    assert [one["line"] for one in found][:2] == [3, 4]
    assert server.ledger.rules.head(tenant) is None


def test_concurrent_edits_are_told(
    server: RunningServer, tenant: str, documents: tuple[str, str], run: Run
) -> None:
    first, second = documents
    run("rules", "put", "--over", "0", first)
    server.ledger.rules.put(tenant, "version: 1\n", actor="another")
    code, _, problem = run("rules", "put", "--over", "1", second)
    assert code == 1
    assert "expected version 1 in force, and there is version 2; nothing was put" in problem
    assert run("rules", "get")[1] == "version: 1\n"


def test_who_was_faster_between_look_and_change_is_told(
    server: RunningServer,
    tenant: str,
    documents: tuple[str, str],
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = documents
    run("rules", "put", first)
    store = server.ledger.rules
    real = store.put

    def after_another(*arguments: Any, **more: Any) -> RulesDocument | None:
        real(tenant, "version: 1\n", actor="another")
        return real(*arguments, **more)

    monkeypatch.setattr(store, "put", after_another)
    code, _, problem = run("rules", "put", second)
    assert code == 1
    assert "somebody else has changed them since this command looked" in problem
    assert "version 1 was in force; nothing was put" in problem
    head = store.head(tenant)
    assert head is not None
    assert head.version == 2


def test_server_key_and_tenant_may_be_named_and_no_key_is_shown(
    running: RunningServer,
    tenant: str,
    documents: tuple[str, str],
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TOLLSPAN_ENDPOINT", "TOLLSPAN_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert "which server? Set TOLLSPAN_ENDPOINT" in run("rules", "get")[2]
    where = ("--endpoint", running.url)
    assert "no API key: set TOLLSPAN_API_KEY" in run("rules", "get", *where)[2]
    running.make_key(tenant)
    key = tmp_path / "key"
    key.write_text(running.make_key("*", "admin") + "\n")
    which = (*where, "--key-file", str(key))
    assert "header Tollspan-Tenant" in run("rules", "get", *which)[2]
    assert run("rules", "put", documents[0], *which, "--tenant", tenant)[0] == 0
    assert run("rules", "get", *which, "--tenant", tenant)[1] == FIRST
    key.write_text(running.make_key(tenant, "ingest"))
    code, said, problem = run("rules", "put", documents[1], *which)
    assert code == 1
    assert "answers 403: this key may ingest, but not admin" in problem
    assert "tsp_" not in said + problem
    assert (
        "the key can't be read: No such file" in run("rules", "get", *where, "--key-file", "x")[2]
    )
    problem = run("rules", "get", "--endpoint", "http://127.0.0.1:9", "--key-file", str(key))[2]
    assert "http://127.0.0.1:9: it can't be reached" in problem


def test_whoever_puts_rules_beside_a_file_that_is_in_force_here_is_told(
    server: RunningServer, tmp_path: Path, run: Run
) -> None:
    own = tmp_path / "tollspan.yaml"  # the working folder
    own.write_text(FIRST)
    code, said, problem = run("rules", "put", str(own))
    assert (code, said.splitlines()[-1]) == (0, "version 1 is in force")
    assert f"go by {own}, not by the server's rules" in problem
    own.rename(tmp_path / "rules.yaml")
    assert run("rules", "put", str(tmp_path / "rules.yaml"))[2] == ""
    assert server.url not in problem
