"""Child processes of every kind: Celery's, multiprocessing's, those that end without an exit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests import harness
from tests.e2e.launching import BIN, RUN
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tests.fakes.otlp_receiver import OtlpReceiver

PROGRAMS = Path(__file__).parent / "programs"
METHODS = ("fork", "forkserver", "spawn")
TASKS = "tests.e2e.programs.tasks"
# A task's call costs 32,400 nano-USD and may cost 371,750: the 21st does not fit, alone or not.
LIMIT, ADMITTED, SENT = "0.001003550", 20, 26


def children_of(method: str, home: Path) -> None:
    """Run a program with children of one kind, and look at the books and the spans."""
    harness.write_rules(home, limit="0.005")
    with FakeOpenAI(Reply(output_tokens=10)) as fake, OtlpReceiver() as otlp:
        done = harness.run(
            [*RUN, sys.executable, str(PROGRAMS / "children.py"), method],
            harness.environment(home, fake.base_url, **otlp.environment),
        )
        assert (done.returncode, done.stderr) == (0, ""), method
        assert done.stdout == "{'ok': 12} BudgetExceededError all\n", method
        events = harness.usage_events(home)
        assert fake.hits == len(events) == 12
        outcomes = sorted(event.outcome.status for event in events)
        assert outcomes == [*["ok"] * 11, "partial"]
        assert harness.balance(home).held == 0
        ids = {event.call.id for event in events} | {one.call.id for one in harness.denials(home)}
        seen = [span.attributes["tollspan.call.id"] for span in otlp.spans]
        assert len(seen) == len(set(seen)) >= 12, method  # who leaves at once exports nothing
        assert ids >= set(seen)


def test_children_of_every_kind_are_gated_and_leave_their_events_and_spans(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(children_of, one, tmp_path / one) for one in METHODS]:
            run.result()


def test_celerys_children_share_one_budget_and_lose_no_event_when_they_are_replaced(
    tmp_path: Path,
) -> None:
    harness.write_rules(tmp_path, limit=LIMIT)
    options = ["--concurrency", "2", "--max-tasks-per-child", "4", "--loglevel", "WARNING"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    worker = [*RUN, str(BIN / "celery"), "-A", TASKS, "worker", *options, *quiet]
    with FakeOpenAI(Reply(output_tokens=50)) as fake, OtlpReceiver() as otlp:
        env = harness.environment(
            tmp_path, fake.base_url, **otlp.environment, CELERY_FOLDER=str(tmp_path / "celery")
        )
        log = (tmp_path / "celery.log").open("w+")
        with (
            log,
            subprocess.Popen(
                worker, env=env, cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT
            ) as process,
        ):
            try:
                sent = harness.run([sys.executable, str(PROGRAMS / "tasks.py"), str(SENT)], env)
                assert sent.returncode == 0, sent.stderr
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
            finally:
                process.kill()
            log.seek(0)
            assert "Traceback" not in log.read()
        outcomes = json.loads(sent.stdout)
        pids = [outcome for outcome in outcomes if isinstance(outcome, int)]
        refused = [outcome for outcome in outcomes if not isinstance(outcome, int)]
        assert set(refused) == {"BudgetExceededError"}
        assert len(set(pids)) > 2
        assert process.pid not in pids
        assert fake.hits == len(harness.usage_events(tmp_path)) == len(pids) <= ADMITTED
        assert len(harness.denials(tmp_path)) == len(refused)
        balance = harness.balance(tmp_path)
        assert balance.posted == fake.billed_nanousd
        assert balance.held == balance.unresolved == 0
        ids = [span.attributes["tollspan.call.id"] for span in otlp.spans]
        assert len(ids) == len(set(ids)) == SENT


FORKED = """
import os, sys, time
import openai
from tollspan.api import CallDeniedError

def call():
    with openai.OpenAI(max_retries=0) as client:
        try:
            client.chat.completions.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=50
            )
        except CallDeniedError as denial:
            return type(denial).__name__
    return "ok"

print(call(), flush=True)
if os.fork() == 0:
    sys.stdin.readline()
    print(call(), flush=True)
    os._exit(0)
os.wait()
"""


def test_a_forked_child_knows_rules_that_were_saved_before_its_first_call(tmp_path: Path) -> None:
    """A worker may wait for hours after its fork, and threads do not survive one."""
    harness.write_rules(tmp_path)
    with FakeOpenAI() as fake:
        process = subprocess.Popen(
            [*RUN, sys.executable, "-c", FORKED],
            env=harness.environment(tmp_path, fake.base_url),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "ok\n"
            harness.write_rules(tmp_path, limit="0")
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "BudgetExceededError\n"
            assert process.wait(30) == 0
        assert fake.hits == 1


OPEN_STREAM = """
import time
import openai
client = openai.OpenAI(max_retries=0)
asked = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=50)
client.chat.completions.create(**asked)
stream = client.chat.completions.create(stream=True, **asked)
next(iter(stream))
print("open", flush=True)
time.sleep(60)
"""


def test_a_program_that_sigterm_kills_keeps_its_event_and_the_hold_of_its_open_stream(
    tmp_path: Path,
) -> None:
    """Without a handler SIGTERM runs nothing of ours: what counts is on the disk already."""
    harness.write_rules(tmp_path)
    with FakeOpenAI(Reply(output_tokens=10, chunk_delay_seconds=0.05)) as fake:
        process = subprocess.Popen(
            [*RUN, sys.executable, "-c", OPEN_STREAM],
            env=harness.environment(tmp_path, fake.base_url),
            stdout=subprocess.PIPE,
            text=True,
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            process.terminate()
            assert process.wait(30) == -signal.SIGTERM
        (event,) = harness.usage_events(tmp_path)
        assert event.outcome.status == "ok"
        held = harness.balance(tmp_path).held
        assert held > 0
        wait_until(lambda: fake.in_flight == 0)
        done = harness.run(
            harness.program("import openai; openai.OpenAI(max_retries=0).models.list()"),
            harness.environment(tmp_path, fake.base_url, HOME=os.environ.get("HOME", "/")),
        )
        assert done.returncode == 0, done.stderr
        balance = harness.balance(tmp_path)
        assert (balance.held, balance.unresolved) == (0, held)
