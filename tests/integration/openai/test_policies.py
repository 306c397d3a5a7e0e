"""Policies under real calls: what is refused, and when a place is free again."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.calls import chat, stream
from tests.integration.openai.stage import Stage
from tollspan.api import (
    PolicyViolationError,
    PolicyWarning,
    attribution,
    on_warn,
    remove_callback,
)
from tollspan.budget import parse_rules
from tollspan.instrumentation import LISTENERS


@contextmanager
def ruled(folder: Path, *policies: str) -> Iterator[Stage]:
    """Have tollspan in this process, with some policies."""
    with FakeOpenAI() as fake, harness.installed(folder / "home") as installed:
        lines = "\n".join(f"  - {{{one}}}" for one in policies)
        rules = parse_rules(f"version: 1\npolicies:\n{lines}\nhosts: {{127.0.0.1: openai}}")
        installed.gate.use(rules)
        stage = Stage(fake=fake, home=folder / "home", installed=installed)
        yield stage
        stage.close()


def test_a_call_that_a_policy_refuses_is_never_sent_and_is_on_record(tmp_path: Path) -> None:
    with ruled(tmp_path, "id: stop, kill: true, where: {agent: crawler}") as stage:
        client = stage.client()
        with attribution(agent="crawler"), pytest.raises(PolicyViolationError, match="'stop'"):
            chat(client)
        assert len(stage.fake.requests) == 0
        chat(client)
        assert len(stage.fake.requests) == 1
        assert stage.events()[0].decision.action == "allow"
        stage.installed.ledger.close()
        (denial,) = harness.denials(stage.home)
        assert denial.error_type == "tollspan.policy_violation"
        assert denial.decision.rule_ids == ("stop",)


def test_a_policy_that_warns_is_heard_of_once(tmp_path: Path) -> None:
    heard: list[PolicyWarning] = []

    def hear(warning: PolicyWarning) -> None:
        heard.append(warning)

    on_warn(hear)
    try:
        with ruled(tmp_path, "id: tell, deny: {model: '*'}, on_violation: warn") as stage:
            for _ in range(3):
                chat(stage.client())
            stage.settle()
            LISTENERS.worker.drain(5)
            events = stage.events()
    finally:
        remove_callback(hear)
    assert [(one.rule_id, one.call_id) for one in heard] == [("tell", events[0].call.id)]
    assert {one.decision.action for one in events} == {"warn"}


def test_agents_may_be_nested_so_deep_and_no_deeper(tmp_path: Path) -> None:
    with ruled(tmp_path, "id: deep, most_depth: 2") as stage:
        client = stage.client()
        with attribution(agent="planner"), attribution(agent="coder"):
            chat(client)
            with attribution(agent="planner"), pytest.raises(PolicyViolationError):
                chat(client)
            with pytest.raises(PolicyViolationError):
                chat(client, extra_body={"tollspan": {"agent": "tester"}})
            chat(client)


def test_a_stream_is_in_flight_until_it_ends_or_nobody_wants_it(tmp_path: Path) -> None:
    with ruled(tmp_path, "id: few, most_in_flight: 1") as stage:
        stage.fake.script.default = Reply(chunks=("a ", "b ", "c"))
        client = stage.client()
        whole = stream(client)
        next(iter(whole))
        with pytest.raises(PolicyViolationError):
            chat(client)
        list(whole)
        left = stream(client)
        next(iter(left))
        with pytest.raises(PolicyViolationError):
            chat(client)
        del left
        gc.collect()
        stage.settle()
        chat(client)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_is_in_flight_in_a_parent_is_not_in_its_child(tmp_path: Path) -> None:
    with ruled(tmp_path, "id: few, most_in_flight: 1") as stage:
        stage.fake.script.default = Reply(chunks=("a ", "b ", "c"))
        open_stream = stream(stage.client())
        assert stage.installed.gate.in_flight == 1
        child = os.fork()
        if child == 0:
            os._exit(stage.installed.gate.in_flight)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert stage.installed.gate.in_flight == 1
        list(open_stream)
        assert stage.installed.gate.in_flight == 0
