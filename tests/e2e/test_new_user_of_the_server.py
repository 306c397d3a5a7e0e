"""A new user's five minutes: the page's own commands and files, run as they stand there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from tests import harness
from tests.e2e.launching import ALONE, BIN
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI
from tests.pages import Person
from tests.services import free_port

PAGE = harness.ROOT / "docs" / "how-to" / "server-in-five-minutes.md"
BLOCKS: dict[str, str] = dict(
    re.findall(r"<!-- (?:run|file): (\S+) -->\n```\w+\n(.*?)```", PAGE.read_text(), re.S)
)
OURS = ("TOLLSPAN_", "OTEL_", "OPENAI_", "PYTHONPATH")
PROGRAM = BLOCKS["app.py"].replace("sleep(1)", "sleep(0.1)")


@dataclass(kw_only=True)
class User:
    """Somebody at a shell, in a folder of his own, with nothing set."""

    folder: Path
    port: int
    env: dict[str, str]

    @property
    def url(self) -> str:
        """Where his server is."""
        return f"http://127.0.0.1:{self.port}"

    def script(self, block: str) -> str:
        """Return a block of the page, for a port that is free."""
        text = BLOCKS[block].replace("4790", str(self.port))
        return text.replace("tollspan serve", f"tollspan serve --port {self.port}")

    def does(self, commands: str) -> str:
        """Run commands to their end; return what they print."""
        done = subprocess.run(
            ["bash", "-euc", commands], cwd=self.folder, env=self.env, capture_output=True,
            text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @contextmanager
    def runs(self, commands: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command until the block ends."""
        process = subprocess.Popen(
            ["bash", "-euc", f"exec {commands}"], cwd=self.folder, env=self.env,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate(timeout=30)

    def asks(self, path: str) -> Mapping[str, list[dict[str, str]]]:
        """Ask his server."""
        key = {"Authorization": f"Bearer {self.env['TOLLSPAN_API_KEY']}"}
        answer = requests.get(self.url + path, headers=key, timeout=30)
        assert answer.status_code == 200, answer.text
        found: Mapping[str, list[dict[str, str]]] = answer.json()
        return found


def new_user(folder: Path, provider: str) -> User:
    """Return somebody who has installed tollspan, and has a provider's key."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env = {
        **kept, **ALONE, "HOME": str(folder), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OPENAI_BASE_URL": provider, "OPENAI_API_KEY": "sk-test",
    }  # fmt: skip
    for name in ("app.py", "budget.yaml"):
        (folder / name).write_text(PROGRAM if name == "app.py" else BLOCKS[name])
    return User(folder=folder, port=free_port(), env=env)


def next_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def test_a_budget_that_is_changed_on_the_server_stops_a_program_that_knows_of_none(
    tmp_path: Path,
) -> None:
    with FakeOpenAI() as provider:
        user = new_user(tmp_path, provider.base_url)
        with user.runs(user.script("serve")) as server:
            assert user.url in next_line(server)
            assert "`tollspan keys create --scopes ingest,read,admin`" in next_line(server)
            user.env["TOLLSPAN_API_KEY"] = user.does(user.script("key")).strip()
            user.env["TOLLSPAN_ENDPOINT"] = user.url
            assert "version 1 is in force" in user.does(user.script("put"))
            with user.runs(user.script("app")) as app:
                assert all(next_line(app) for _ in range(3))
                person = Person(user)
                assert person.sign_in(user.env["TOLLSPAN_API_KEY"]).status == 303
                wait_until(lambda: spent_on_page(person) > 0)
                assert "everybody" in user.does(user.script("look"))
                assert "version 2 is in force" in user.does(user.script("smaller"))
                _, problem = app.communicate(timeout=60)
            assert app.returncode == 1
            assert "BudgetExceededError: budget 'everybody' has 0.0001 USD:" in problem
            see_every_book_agree(user, person, provider)


def spent_on_page(person: Person) -> int:
    """Return the greatest amount that the page at `/` shows, in nano-USD."""
    page = person.get("/")
    return max((int(said["value"] or 0) for tag, said in page.tags if tag == "data"), default=0)


def see_every_book_agree(user: User, person: Person, provider: FakeOpenAI) -> None:
    """See what the provider billed on the server, in its budget and on its page, and no more."""
    calls, billed = provider.hits, provider.billed_nanousd

    def counted() -> tuple[int, int]:
        rows = user.asks("/v1/usage")["rows"]
        return sum(int(one["calls"]) for one in rows), sum(int(one["cost_nanousd"]) for one in rows)

    wait_until(lambda: counted() == (calls, billed))
    wait_until(lambda: [one["posted"] for one in user.asks("/v1/budgets")["budgets"]
                        if one["budget"] == "everybody"] == [str(billed)])  # fmt: skip
    assert sum(int(one["denied"]) for one in user.asks("/v1/usage")["rows"]) == 1
    changes = [one["action"] for one in user.asks("/v1/audit?action=rules")["entries"]]
    assert changes == ["rules.changed", "rules.changed"]
    assert user.asks("/v1/audit?action=prices")["entries"]
    values = [said["value"] for tag, said in person.get("/").tags if tag == "data"]
    assert str(billed) in values
