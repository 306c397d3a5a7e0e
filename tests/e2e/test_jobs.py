"""Jobs: a process begins one and dies, another one of the host sees its end, and all is exact."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger
from tollspan.usage import UsageEvent

BEGIN = """
import os, signal, sys
from openai import OpenAI
client = OpenAI(max_retries=0)
client.chat.completions.create(
    model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20)
job = client.responses.create(
    model="gpt-4o-mini", input="hi", max_output_tokens=20, background=True)
sys.stdout.write(job.id)
sys.stdout.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
REFUSED = """
from openai import OpenAI
from tollspan.api import BudgetExceededError
try:
    OpenAI(max_retries=0).responses.create(
        model="gpt-4o-mini", input="hi", max_output_tokens=20, background=True)
except BudgetExceededError:
    print("refused")
"""
SEE = """
import sys
from openai import OpenAI
for _ in range(3):
    print(OpenAI(max_retries=0).responses.retrieve("{job}").status)
"""


def begun(home: Path, env: dict[str, str]) -> str:
    """Run a program that begins a job and is killed; return the job's id."""
    done = harness.run(harness.program(BEGIN), env)
    assert done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    assert done.stdout.startswith("resp_")
    return done.stdout


def swept(home: Path) -> None:
    """Have what dead processes hold looked after."""
    ledger = SQLiteLedger(home)
    ledger.sweep()
    ledger.close()


def the_jobs_event(home: Path, job: str) -> UsageEvent:
    """Return the one event of a job."""
    (found,) = [one for one in harness.usage_events(home) if one.outcome.response.id == job]
    return found


@pytest.mark.parametrize("leases", ["never", "always"])
def test_a_job_of_a_process_that_was_killed_is_settled_by_another_one(
    tmp_path: Path, fake: FakeOpenAI, leases: str
) -> None:
    home = tmp_path / "home"
    env = harness.environment(home, fake.base_url, TOLLSPAN_LEASES=leases)
    harness.write_rules(home)
    job = begun(home, env)
    held = harness.balance(home)
    swept(home)
    of_job = [one for one in LedgerReader(home / LEDGER_FILE).open_holds() if not one.is_unresolved]
    assert len(of_job) == 1, held
    bound = of_job[0].amount
    # The rest of a dead process's lease, if any, is not the job's.
    stranded = harness.balance(home).unresolved
    assert (stranded == 0) is (leases == "never")

    spent = harness.balance(home).counted
    harness.write_rules(home, limit=f"{(spent + bound - 1) / 1e9:.9f}")
    refused = harness.run(harness.program(REFUSED), env)
    assert "refused" in refused.stdout, refused.stderr

    harness.write_rules(home)
    seen = harness.run(harness.program(SEE.format(job=job)), env)
    assert seen.stdout.split() == ["completed"] * 3, seen.stderr
    event = the_jobs_event(home, job)
    assert event.usage is not None
    assert event.usage.status == "reported"
    balance = harness.balance(home)
    assert (balance.held, balance.unresolved) == (0, stranded)
    assert balance.posted == fake.billed_nanousd > 0


def test_many_processes_that_see_the_end_at_once_settle_it_once(
    tmp_path: Path, fake: FakeOpenAI
) -> None:
    home = tmp_path / "home"
    env = harness.environment(home, fake.base_url)
    harness.write_rules(home)
    job = begun(home, env)
    command = harness.program(SEE.format(job=job))
    programs = [
        subprocess.Popen(command, env=env, cwd=home, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [program.communicate(timeout=60)[0] for program in programs]
    assert [text.split() for text in said] == [["completed"] * 3] * 3
    the_jobs_event(home, job)
    balance = harness.balance(home)
    assert (balance.held, balance.unresolved) == (0, 0)
    assert balance.posted == fake.billed_nanousd > 0
