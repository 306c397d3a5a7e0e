"""A program that asks what was decided of its calls."""

from __future__ import annotations

from pathlib import Path

from tests import harness
from tests.fakes import FakeOpenAI

PROGRAM = """
from openai import OpenAI
from tollspan.api import decision_of

client = OpenAI()
asked = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hello"}]}
answer = client.chat.completions.create(**asked)
decided = decision_of(answer)
print(decided.action, decided.used_model, decided.cost_status, decided.cost_nanousd)
stream = client.chat.completions.create(stream=True, **asked)
print(decision_of(stream).is_ended)
for _ in stream:
    pass
print(decision_of(stream).is_ended, decision_of(object()))
"""


def test_a_program_asks_with_what_its_calls_returned(tmp_path: Path) -> None:
    harness.write_rules(tmp_path)
    with FakeOpenAI() as fake:
        env = harness.environment(tmp_path, fake.base_url)
        done = harness.run(harness.program(PROGRAM), env)
        assert done.returncode == 0, done.stderr
        cost = harness.usage_events(tmp_path)[0].cost.amount_nanousd
        assert done.stdout.splitlines() == [
            f"allow gpt-4o-mini priced {cost}",
            "False",
            "True None",
        ]


def test_importing_the_rest_keeps_nothing(tmp_path: Path) -> None:
    code = """
    import sys
    from tollspan.api import BudgetExceededError, install
    from tollspan.instrumentation import DECISIONS
    install()
    assert "tollspan.launch._decisions" not in sys.modules
    assert not DECISIONS._is_wanted
    from tollspan.api import decision_of
    assert DECISIONS._is_wanted
    """
    harness.write_rules(tmp_path)
    env = harness.environment(tmp_path, "http://127.0.0.1:9")
    done = harness.run(harness.program(code), env)
    assert done.returncode == 0, done.stderr
