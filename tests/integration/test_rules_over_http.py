"""Rules from an address: fetched beside the calls, kept for the next start, never waited for."""

from __future__ import annotations

import asyncio
import logging
import stat
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests import harness
from tests.e2e import spending
from tests.fakes import FakeOpenAI
from tests.fakes.rule_server import FakeRules, Mood
from tollspan.budget import read_rules
from tollspan.cli import _checks_rules, main
from tollspan.cli._checks import Patient
from tollspan.exporter import RuleFetcher, copy_of
from tollspan.launch import Installed, install_or_raise, read_settings, uninstall
from tollspan.usage import BudgetExceededError, ConfigError, GateUnavailableError

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 9,
}
SECRET = "tsp_0123abcd_secret"


def document(limit: str) -> str:
    """Return rules with one budget."""
    return f"version: 1\nhosts: {{127.0.0.1: openai}}\nbudgets: [{{id: all, limit: {limit} USD}}]\n"


@pytest.fixture
def rules() -> Iterator[FakeRules]:
    with FakeRules(document("100")) as server:
        yield server


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@contextmanager
def installed(url: str, home: Path, **env: str) -> Generator[Installed]:
    settings = read_settings({"TOLLSPAN_HOME": str(home), "TOLLSPAN_CONFIG": url, **env})
    try:
        yield install_or_raise(settings)
    finally:
        uninstall()


def ask(fake: FakeOpenAI) -> None:
    with OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client:
        spending.ask(client, 0, size=8)


def wait_until_called(fake: FakeOpenAI, installed: Installed) -> None:
    """Make calls until one is let through."""
    give_up_at = time.monotonic() + 20
    while True:
        installed.watcher.look()
        try:
            return ask(fake)
        except GateUnavailableError:
            assert time.monotonic() < give_up_at
            time.sleep(0.05)


def test_rules_are_fetched_kept_for_this_user_alone_and_in_force_at_the_next_start_too(
    rules: FakeRules, fake: FakeOpenAI, tmp_path: Path
) -> None:
    rules.text = document("0")
    for _ in range(2):
        with installed(rules.url, tmp_path), pytest.raises(BudgetExceededError):
            ask(fake)
        rules.close()  # the second start finds nobody there
    assert fake.hits == 0
    copy = copy_of(rules.url, tmp_path)
    assert copy.read_text() == rules.text
    for path, mode in ((copy, 0o600), (copy.with_suffix(".json"), 0o600), (copy.parent, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_rules_that_change_there_are_in_force_in_every_process_of_the_host(
    rules: FakeRules, fake: FakeOpenAI, tmp_path: Path
) -> None:
    with installed(rules.url, tmp_path) as here:
        ask(fake)
        rules.text = document("0")
        RuleFetcher(rules.url, tmp_path, every_seconds=0).refresh()  # as another process does
        here.watcher.look()
        with pytest.raises(BudgetExceededError):
            ask(fake)


def test_who_has_asked_lately_does_not_ask_again_whoever_it_was(
    rules: FakeRules, tmp_path: Path
) -> None:
    for _ in range(5):
        RuleFetcher(rules.url, tmp_path).refresh()
    assert len(rules.asked) == 1
    for _ in range(3):
        RuleFetcher(rules.url, tmp_path, every_seconds=0).refresh()
    assert [one.headers.get("if-none-match") is None for one in rules.asked] == [True] + [False] * 3


def test_processes_that_start_together_for_the_first_time_all_have_the_rules(
    rules: FakeRules, tmp_path: Path
) -> None:
    rules.pause_seconds = 0.5
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(RuleFetcher(rules.url, tmp_path).refresh) for _ in range(4)]:
            done.result()
    assert len(rules.asked) == 1


def test_a_server_that_names_no_version_changes_no_copy_until_it_has_other_rules(
    rules: FakeRules, tmp_path: Path
) -> None:
    rules.tells_etag = False
    fetcher = RuleFetcher(rules.url, tmp_path, every_seconds=0)
    fetcher.refresh()
    copy = copy_of(rules.url, tmp_path)
    before, known = copy.stat(), fetcher.known()
    fetcher.refresh()
    assert (copy.stat().st_ino, copy.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert fetcher.known().changed_at_unix_ns == known.changed_at_unix_ns > 0
    rules.text = document("7")
    fetcher.refresh()
    assert copy.read_text() == rules.text
    assert fetcher.known().changed_at_unix_ns > known.changed_at_unix_ns


def test_a_thread_asks_again_and_again_until_the_end(rules: FakeRules, tmp_path: Path) -> None:
    fetcher = RuleFetcher(rules.url, tmp_path, every_seconds=0.02)
    assert fetcher.start().wait(10)
    rules.text = document("7")
    give_up_at = time.monotonic() + 10
    while "7 USD" not in copy_of(rules.url, tmp_path).read_text():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)
    fetcher.close()
    time.sleep(0.2)
    before = len(rules.asked)
    time.sleep(0.2)
    assert len(rules.asked) == before > 1


def test_the_first_start_with_a_slow_server_denies_at_once_and_goes_by_the_rules_when_they_come(
    rules: FakeRules, fake: FakeOpenAI, tmp_path: Path
) -> None:
    rules.mood = "silent"
    with installed(rules.url, tmp_path) as here:
        began = time.monotonic()
        with pytest.raises(GateUnavailableError, match="have not come yet"):
            ask(fake)
        assert time.monotonic() - began < 1
        assert fake.hits == 0
        rules.mood = "good"
        rules.go_on.set()
        wait_until_called(fake, here)
    assert fake.hits == 1


def test_an_event_loop_is_not_kept_by_a_slow_server(
    rules: FakeRules, fake: FakeOpenAI, tmp_path: Path
) -> None:
    rules.mood = "silent"

    async def start_and_ask() -> float:
        began = time.monotonic()
        with installed(rules.url, tmp_path):
            took = time.monotonic() - began
            async with AsyncOpenAI(base_url=fake.base_url, api_key="sk", max_retries=0) as client:
                with pytest.raises(GateUnavailableError):
                    await client.chat.completions.create(**ASKED)
        return took

    assert asyncio.run(start_and_ask()) < 1.5
    assert fake.hits == 0


def test_a_cold_start_may_let_calls_through_which_are_metered(
    rules: FakeRules, fake: FakeOpenAI, tmp_path: Path
) -> None:
    rules.status = 503
    with (
        installed(rules.url, tmp_path, TOLLSPAN_COLD_START="allow"),
        OpenAI(base_url=fake.base_url, api_key="sk-test", max_retries=0) as client,
    ):
        client.chat.completions.create(**ASKED)
    assert fake.hits == len(harness.usage_events(tmp_path)) == 1


def test_wrong_rules_there_leave_the_last_good_ones_in_force_and_are_named(
    rules: FakeRules, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetcher = RuleFetcher(rules.url, tmp_path, every_seconds=0)
    fetcher.refresh()
    good = rules.text
    rules.text = "version: 1\nbudgets: [{id: a, limit: 5}]\n"
    for _ in range(3):  # the second time it says that nothing changed
        fetcher.refresh()
        assert copy_of(rules.url, tmp_path).read_text() == good
        assert "tollspan.yaml:2: " in (fetcher.known().problem or "")
    assert caplog.text.count("tollspan.yaml:2: ") == 1
    rules.text = good
    fetcher.refresh()
    assert fetcher.known().problem is None


MOODS: list[tuple[Mood, str]] = [
    ("drip", "took too long"),
    ("html", "mapping"),
    ("redirect", "sends us to login.example"),
    ("reset", "can't be reached"),
    ("huge", "longer than"),
    ("bomb", "longer than"),
]


@pytest.mark.parametrize(("mood", "said"), MOODS)
def test_a_server_that_misbehaves_changes_nothing_and_is_named(
    rules: FakeRules, tmp_path: Path, mood: Mood, said: str
) -> None:
    fetcher = RuleFetcher(rules.url, tmp_path, every_seconds=0)
    fetcher.refresh()
    rules.mood = mood
    began = time.monotonic()
    fetcher.refresh()
    assert time.monotonic() - began < 20
    assert said in (fetcher.known().problem or "")
    assert copy_of(rules.url, tmp_path).read_text() == rules.text
    rules.mood = "good"
    fetcher.refresh()
    assert fetcher.known().problem is None


@pytest.mark.parametrize(
    ("status", "said"), [(401, "TOLLSPAN_API_KEY"), (404, "404"), (500, "500")]
)
def test_a_server_that_refuses_at_the_first_start_is_named(
    rules: FakeRules, tmp_path: Path, status: int, said: str
) -> None:
    rules.status = status
    with pytest.raises(ConfigError, match=said):
        RuleFetcher(rules.url, tmp_path).refresh()


def test_a_server_without_rules_has_an_answer_where_that_is_one_and_never_takes_rules_back(
    rules: FakeRules, tmp_path: Path
) -> None:
    rules.status = 204
    with pytest.raises(ConfigError, match="there are none yet"):
        RuleFetcher(rules.url, tmp_path).refresh()
    fetcher = RuleFetcher(rules.url, tmp_path, may_have_none=True, every_seconds=0)
    for _ in range(2):
        fetcher.refresh()
        assert fetcher.known().has_none
        assert read_rules(copy_of(rules.url, tmp_path)).budgets == ()
    rules.status = 200
    fetcher.refresh()
    assert not fetcher.known().has_none
    rules.status = 204
    fetcher.refresh()
    assert "those that it had stay in force" in (fetcher.known().problem or "")
    assert copy_of(rules.url, tmp_path).read_text() == rules.text


def test_the_key_is_sent_and_is_in_no_message(
    rules: FakeRules, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tollspan")
    RuleFetcher(rules.url, tmp_path, key=SECRET).refresh()
    assert rules.asked[-1].headers["authorization"] == f"Bearer {SECRET}"
    rules.status = 401
    url = rules.url.replace("http://", f"http://user:{SECRET}@") + f"?token={SECRET}"
    with pytest.raises(ConfigError) as caught:
        RuleFetcher(url, tmp_path).refresh()
    assert rules.asked[-1].headers["authorization"].startswith("Basic ")
    assert SECRET not in str(caught.value) + caplog.text


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "schlüssel"])
def test_what_is_no_key_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"TOLLSPAN_API_KEY": key})
    assert key not in str(caught.value)


def address_check() -> str:
    """Return what the doctor says of the rules' address."""
    patient = Patient(settings=read_settings(), wrong=(), environ={})
    checks = [check for part in _checks_rules.CHECKS for check in part(patient)]
    return next(check.text for check in checks if check.id == "rules.address")


def test_commands_go_by_the_rules_there_and_the_doctor_looks_at_them(
    rules: FakeRules,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TOLLSPAN_HOME", str(tmp_path))
    monkeypatch.setenv("TOLLSPAN_CONFIG", rules.url)
    assert main(["config", "check"]) == 0
    assert "all: at most 100.00 USD" in capsys.readouterr().out
    assert f"{rules.url} answers" in address_check()
    rules.close()
    copy_of(rules.url, tmp_path).with_suffix(".json").unlink()
    assert "can't be reached" in address_check()
    copy_of(rules.url, tmp_path).unlink()
    assert main(["config", "check"]) == 1
    assert "there are no rules from" in capsys.readouterr().err
