"""A batch whose steps are each a process of its own, one of them killed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI

UPLOAD = """
import io, json
from openai import OpenAI
body = {"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]}
url = "/v1/chat/completions"
lines = [{"custom_id": f"r{n}", "method": "POST", "url": url, "body": body} for n in range(3)]
content = "".join(json.dumps(one) + "\\n" for one in lines).encode()
print(OpenAI().files.create(file=io.BytesIO(content), purpose="batch").id)
"""
BEGIN = """
import os, signal, sys
from openai import OpenAI
batch = OpenAI().batches.create(
    input_file_id="{file}", endpoint="/v1/chat/completions", completion_window="24h")
sys.stdout.write(batch.id)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
LOOK = """
from openai import OpenAI
for _ in range(2):
    batch = OpenAI().batches.retrieve("{batch}")
print(batch.output_file_id)
"""
READ = """
from openai import OpenAI
print(len(OpenAI().files.content("{output}").text.splitlines()))
"""


def ran(code: str, env: dict[str, str], *, is_killed: bool = False) -> str:
    """Run a program; return what it printed."""
    done = harness.run(harness.program(code), env)
    expected = (-signal.SIGKILL, 128 + signal.SIGKILL) if is_killed else (0,)
    assert done.returncode in expected, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("leases", ["never", "always"])
def test_every_step_of_a_batch_may_be_another_process_s(
    tmp_path: Path, fake: FakeOpenAI, leases: str
) -> None:
    home = tmp_path / "home"
    env = harness.environment(home, fake.base_url, TOLLSPAN_LEASES=leases)
    harness.write_rules(home, budgets="{id: all, limit: 1 USD}, {id: count, limit: 100 calls}")
    file = ran(UPLOAD, env)
    batch = ran(BEGIN.format(file=file), env, is_killed=True)
    assert harness.balance(home).held > 3 * 20 * 300
    assert harness.usage_events(home) == []
    output = ran(LOOK.format(batch=batch), env)
    for _ in range(2):
        assert ran(READ.format(output=output), env) == "3"
    (event,) = harness.usage_events(home)
    assert event.outcome.response.id == batch
    assert event.cost.amount_nanousd == fake.billed_nanousd > 0
    found = harness.balance(home)
    assert found.posted == fake.billed_nanousd
    assert harness.balance(home, "count").posted == 3
