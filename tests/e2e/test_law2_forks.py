"""Law 2 and forks: no shared connection, no deadlock, and the parent's money stays the parent's."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests import harness
from tests.e2e.waiting import wait_until
from tests.fakes import FakeOpenAI, Reply
from tollspan.ledger import LEDGER_FILE, LedgerReader, SQLiteLedger

OPENING = """
import json, multiprocessing, os, sys, threading
from openai import OpenAI
def call(customer=None):
    with OpenAI(max_retries=0) as client:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=20
        )
    return os.getpid()
def in_child(work):
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)
def wait(pid):
    _, status = os.waitpid(pid, 0)
    assert status == 0, status
"""


def check(home: Path, fake: FakeOpenAI, *, calls: int) -> None:
    """See that each call was counted once, and nothing is held any more."""
    assert fake.hits == calls
    assert len(harness.usage_events(home)) == calls
    balance = harness.balance(home)
    assert balance.posted == fake.billed_nanousd
    assert (balance.held, balance.unresolved) == (0, 0)


def run(home: Path, fake: FakeOpenAI, code: str) -> str:
    """Run a program to its end and return what it printed."""
    harness.write_rules(home)
    done = harness.run(harness.program(OPENING + code), harness.environment(home, fake.base_url))
    assert done.returncode == 0, done.stderr
    assert "tollspan" not in done.stderr, done.stderr
    return done.stdout


def test_a_pool_of_forked_workers_counts_every_call_once(tmp_path: Path) -> None:
    code = """
    call()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        pids = pool.map(call, range(12), chunksize=1)
        pool.close()
        pool.join()
    call()
    print(os.getpid() in pids)
    """
    with FakeOpenAI() as fake:
        assert run(tmp_path, fake, _flat(code)) == "False\n"
        check(tmp_path, fake, calls=14)


def test_parent_and_child_call_at_the_same_time(tmp_path: Path) -> None:
    code = """
    call()
    for _ in range(5):
        child = in_child(lambda: [call() for _ in range(3)])
        for _ in range(3):
            call()
        wait(child)
    """
    with FakeOpenAI() as fake:
        run(tmp_path, fake, _flat(code))
        check(tmp_path, fake, calls=31)


def test_fifty_forks_while_threads_are_inside_calls(tmp_path: Path) -> None:
    code = """
    stop = threading.Event()
    made = []
    # Done once beforehand: until Python 3.12, `cached_property` has a lock that a fork can freeze,
    # and the SDK and the platform module, which it asks at its first request, use it.
    call()
    create = OpenAI(max_retries=0).chat.completions.create
    def work():
        while not stop.is_set():
            made.append(
                create(
                    model="gpt-4o-mini",
                    messages=[{"role": "user", "content": "hi"}],
                    max_tokens=20,
                )
            )
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        wait(in_child(call))
    stop.set()
    for thread in threads:
        thread.join()
    print(len(made))
    """
    with FakeOpenAI() as fake:
        made = int(run(tmp_path, fake, _flat(code)))
        assert made > 0
        check(tmp_path, fake, calls=1 + 50 + made)


def test_a_child_that_ends_leaves_its_parents_holds_alone(tmp_path: Path) -> None:
    code = """
    thread = threading.Thread(target=call)
    thread.start()
    print("calling", flush=True)
    sys.stdin.readline()
    pid = os.fork()
    if pid == 0:
        call()
        sys.exit(0)  # with everything that runs at exit
    os.waitpid(pid, 0)
    print("forked", flush=True)
    thread.join()
    """
    harness.write_rules(tmp_path)
    with FakeOpenAI() as fake:
        fake.script.push(Reply(latency_seconds=3))
        with _program(tmp_path, fake, _flat(code)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == "calling\n"
            wait_until(lambda: fake.in_flight == 1)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "forked\n"
            ledger = SQLiteLedger(tmp_path)
            assert ledger.sweep() == 0
            ledger.close()
            (hold,) = LedgerReader(tmp_path / LEDGER_FILE).open_holds()
            assert not hold.is_unresolved
            process.communicate(timeout=30)
        check(tmp_path, fake, calls=2)


def test_a_child_that_lives_on_does_not_vouch_for_its_dead_parent(tmp_path: Path) -> None:
    code = """
    thread = threading.Thread(target=call)
    thread.start()
    sys.stdin.readline()
    pid = os.fork()
    if pid == 0:
        print("child", flush=True)
        call()
        sys.stdin.readline()
        os._exit(0)
    thread.join()
    """
    harness.write_rules(tmp_path)
    with FakeOpenAI() as fake:
        fake.script.push(Reply(latency_seconds=600))
        with _program(tmp_path, fake, _flat(code)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            wait_until(lambda: fake.in_flight == 1)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "child\n"
            wait_until(lambda: len(harness.usage_events(tmp_path)) == 1)
            process.kill()
            process.wait()
            ledger = SQLiteLedger(tmp_path)
            ledger.sweep()  # unless the child has done it already
            ledger.close()
            (hold,) = LedgerReader(tmp_path / LEDGER_FILE).open_holds()
            assert hold.is_unresolved
            process.stdin.write("\n")
            process.stdin.flush()
            process.stdin.close()


def test_holds_of_a_child_killed_in_flight_become_unresolved_while_the_parent_lives(
    tmp_path: Path,
) -> None:
    code = """
    call()
    child = in_child(call)
    print(child, flush=True)
    sys.stdin.readline()
    os.waitpid(child, 0)
    call()
    sys.stdin.readline()
    """
    harness.write_rules(tmp_path)
    with FakeOpenAI() as fake:
        fake.script.push(Reply(), Reply(latency_seconds=600))
        with _program(tmp_path, fake, _flat(code)) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            child = int(process.stdout.readline())
            wait_until(lambda: fake.in_flight == 1)
            subprocess.run(["kill", "-9", str(child)], check=True)
            process.stdin.write("\n")
            process.stdin.flush()
            wait_until(lambda: harness.balance(tmp_path).unresolved > 0)
            process.stdin.write("\n")
            process.stdin.flush()
            process.communicate(timeout=30)
        assert len(harness.usage_events(tmp_path)) == 2
        assert harness.balance(tmp_path).held == 0


def _program(home: Path, fake: FakeOpenAI, code: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        harness.program(OPENING + code),
        env=harness.environment(home, fake.base_url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=home,
    )


def _flat(code: str) -> str:
    return "\n".join(line.removeprefix("    ") for line in code.splitlines())
