"""`tollspan run`: the program starts as it would alone, with the gate in front of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import harness
from tests.fakes import FakeOpenAI, Reply

TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
RUN = [TOLLSPAN, "run"]
PYTHON = sys.executable
BROKEN = "version: 1\nbudgets:\n  - {id: all, limit: ten USD}\n"

CALL = """
import openai
from tollspan.api import CallDeniedError
client = openai.OpenAI(max_retries=0)
def call():
    try:
        client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}], max_tokens=50
        )
    except CallDeniedError as denial:
        return f"{type(denial).__name__}: {denial}"
    return "ok"
"""


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    """Serve short answers."""
    with FakeOpenAI(Reply(output_tokens=10)) as server:
        yield server


@pytest.fixture
def env(fake: FakeOpenAI, tmp_path: Path) -> dict[str, str]:
    """The environment of programs, with a home in it that has rules with room for every call."""
    harness.write_rules(tmp_path)
    folder = tmp_path / "folder"
    folder.mkdir()
    return harness.environment(tmp_path, fake.base_url, FOLDER=str(folder))


def outcome(command: list[str], env: dict[str, str]) -> tuple[int, str, str]:
    """Run a command; return its exit code, output and errors."""
    done = subprocess.run(
        command, env=env, cwd=env["FOLDER"], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout, done.stderr


def outcomes(
    cases: Mapping[str, tuple[list[str], dict[str, str]]],
) -> dict[str, tuple[int, str, str]]:
    """Run commands, two at a time; return how each ended."""
    with ThreadPoolExecutor(2) as pool:
        running = {name: pool.submit(outcome, *case) for name, case in cases.items()}
        return {name: one.result() for name, one in running.items()}


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        pytest.param("pass", 0, id="the end"),
        pytest.param("import sys; sys.exit(3)", 3, id="sys.exit(3)"),
        pytest.param("import os; os._exit(4)", 4, id="os._exit(4)"),
        pytest.param("import os; os.kill(os.getpid(), 15)", -signal.SIGTERM, id="SIGTERM"),
        pytest.param("import os; os.abort()", -signal.SIGABRT, id="abort"),
    ],
)
def test_exit_codes_pass_through(env: dict[str, str], code: str, exit_code: int) -> None:
    assert outcome([*RUN, PYTHON, "-c", code], env) == (exit_code, "", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_program_itself(env: dict[str, str], number: signal.Signals) -> None:
    code = """
import os, signal, sys, time
def handle(number, frame):
    print("got", number, flush=True)
    sys.exit(40 + number)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
    signal.signal(number, handle)
print(os.getpid(), flush=True)
time.sleep(30)
"""
    process = subprocess.Popen(
        [*RUN, PYTHON, "-c", code], env=env, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(number)
        assert process.stdout.read() == f"got {number.value}\n"
        assert process.wait(10) == 40 + number


def test_an_interrupt_without_a_handler_ends_the_program_as_it_would_alone(
    env: dict[str, str],
) -> None:
    code = "import time; print('up', flush=True); time.sleep(30)"
    ends = []
    for command in ([PYTHON, "-c", code], [*RUN, PYTHON, "-c", code]):
        process = subprocess.Popen(
            command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=10)
            ends.append((process.returncode, output, errors))
    assert ends[0] == ends[1]
    assert ends[0][0] == -signal.SIGINT


def test_standard_streams_arguments_and_folder_are_untouched(
    env: dict[str, str], tmp_path: Path
) -> None:
    code = """
import json, os, sys
data = sys.stdin.buffer.read()
sys.stdout.buffer.write(data[::-1])
sys.stderr.write(json.dumps([sys.argv, os.getcwd(), sys.path[0], sys.flags.dev_mode]))
"""
    data = bytes(range(256)) * 300
    ends = [
        subprocess.run(
            [*front, PYTHON, "-X", "dev", "-c", code, "--json", "-v", "--", "a b"],
            env={**env, "PYTHONWARNINGS": "ignore"},
            cwd=tmp_path,
            input=data,
            capture_output=True,
            check=True,
        )
        for front in ([], RUN)
    ]
    assert ends[1].stdout == ends[0].stdout == data[::-1]
    assert ends[1].stderr == ends[0].stderr


def test_the_programs_own_sitecustomize_and_path_are_as_they_would_be_alone(
    env: dict[str, str], tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "sitecustomize.py").write_text(
        "import sys\nMARK = (__name__, sys.modules['sitecustomize'].__file__)\n"
    )
    code = "import sitecustomize, sys; print(sitecustomize.MARK, sys.path)"
    paths = os.pathsep.join([str(own), "", str(tmp_path)])
    ends = [
        outcome([*front, PYTHON, "-c", code], {**env, "PYTHONPATH": paths}) for front in ([], RUN)
    ]
    assert ends[0] == ends[1]
    assert str(own / "sitecustomize.py") in ends[0][1]


def test_a_broken_sitecustomize_of_the_program_breaks_no_more_than_alone(
    env: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text("raise ValueError('mine')\n")
    code = f"{CALL}\nprint(call())"
    exit_code, output, errors = outcome(
        [*RUN, PYTHON, "-c", code], {**env, "PYTHONPATH": str(tmp_path)}
    )
    assert (exit_code, output) == (0, "ok\n")
    assert "ValueError: mine" in errors


def other_environment(folder: Path) -> str:
    """Make a virtual environment that has what ours has; return its Python."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(folder / "other")], check=True)
    (packages,) = (folder / "other" / "lib").glob("python*/site-packages")
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    return str(folder / "other" / "bin" / "python")


def test_every_way_to_start_python_is_gated(
    env: dict[str, str], fake: FakeOpenAI, tmp_path: Path
) -> None:
    harness.write_rules(tmp_path, limit="0")
    code = f"{CALL}\nprint(call().split(':')[0])"
    folder = Path(env["FOLDER"])
    script = folder / "app.py"
    script.write_text(code)
    shebang = folder / "app"
    shebang.write_text(f"#!{PYTHON} -u\n{code}")
    shebang.chmod(0o755)
    by_env = folder / "by-env"
    by_env.write_text(f"#!/usr/bin/env python3\n{code}")
    by_env.chmod(0o755)
    path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    commands = {
        "-c": [PYTHON, "-c", code],
        "script": [PYTHON, str(script)],
        "-m": [PYTHON, "-m", "app"],
        "stdin": ["sh", "-c", f"{PYTHON} - < {script}"],
        "shebang": [str(shebang)],
        "shebang by env": [str(by_env)],
        "shebang, a relative path": ["./app"],
        "python by name": ["python3", str(script)],
        "python by a relative path": [os.path.relpath(PYTHON, folder), "app.py"],
        "another virtual environment": [other_environment(folder), "app.py"],
        "a shell over it": ["sh", "-c", f"true; {PYTHON} app.py"],
        "--": ["--", PYTHON, str(script)],
    }
    cases = {way: ([*RUN, *one], {**env, "PATH": path}) for way, one in commands.items()}
    for way, done in outcomes(cases).items():
        assert done == (0, "BudgetExceededError\n", ""), way
    assert fake.hits == 0
    assert len(harness.denials(tmp_path)) == len(commands)


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_child_processes_are_gated_and_metered(
    env: dict[str, str], fake: FakeOpenAI, tmp_path: Path, method: str
) -> None:
    script = tmp_path / "app.py"
    script.write_text(
        f"""{CALL}
import multiprocessing

def start():
    global client  # a forked child must not write into its parent's connections
    client = openai.OpenAI(max_retries=0)

def work(number):
    return call().split(":")[0]

if __name__ == "__main__":
    print(call())
    context = multiprocessing.get_context("{method}")
    with context.Pool(2, start) as pool:
        print(*sorted(pool.map(work, range(6))))
"""
    )
    # One call may cost some 342,000 nano-USD and costs a few thousand: four fit, two at a time.
    exit_code, output, errors = outcome([*RUN, PYTHON, str(script)], env)
    assert (exit_code, output.splitlines()) == (0, ["ok", "ok ok ok ok ok ok"]), errors
    assert fake.hits == len(harness.usage_events(tmp_path)) == 7
    assert harness.balance(tmp_path).posted == fake.billed_nanousd
    harness.write_rules(tmp_path, limit="0")
    exit_code, output, errors = outcome([*RUN, PYTHON, str(script)], env)
    assert output.split()[0] == "BudgetExceededError:", errors
    assert output.splitlines()[-1].split() == ["BudgetExceededError"] * 6
    assert fake.hits == 7


def test_install_in_code_and_the_launcher_together_count_each_call_once(
    env: dict[str, str], fake: FakeOpenAI, tmp_path: Path
) -> None:
    code = f"""
import openai
from tollspan.api import install
install()
install()
{CALL}
print(call(), call())
"""
    for front in ([], RUN):
        assert outcome([*front, PYTHON, "-c", code], env) == (0, "ok ok\n", "")
    assert fake.hits == len(harness.usage_events(tmp_path)) == 4


def test_what_is_not_there_or_not_a_program_is_said_as_a_shell_would(
    env: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "not-executable"
    script.write_text("print(1)")
    damaged = tmp_path / "damaged"
    damaged.write_text("#!/no/such/interpreter\n")
    damaged.chmod(0o755)
    assert outcome([*RUN, "no-such-program"], env) == (
        127,
        "",
        "tollspan run: no-such-program: command not found\n",
    )
    for path in (script, tmp_path, damaged):
        exit_code, output, errors = outcome([*RUN, str(path)], env)
        assert (exit_code, output) == (126, "")
        assert errors.startswith(f"tollspan run: {path}: ")
        assert errors.count("\n") == 1
    assert outcome(RUN, env)[0] == 2


def tampered(folder: Path) -> Path:
    """Return a price book in which a price was changed."""
    from tollspan import pricing

    shipped = Path(pricing.__file__).with_name("prices.json").read_text()
    path = folder / "tampered.json"
    path.write_text(shipped.replace("150000", "150001", 1))
    assert path.read_text() != shipped
    return path


def test_strict_refuses_before_the_program_starts_and_says_why(
    env: dict[str, str], tmp_path: Path
) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text(BROKEN)
    bare = tmp_path / "bare"
    bare.mkdir()
    started = [PYTHON, "-c", "print('started')"]
    prices = str(tampered(tmp_path))
    cases = {
        "no rules": ({"TOLLSPAN_HOME": str(bare)}, started, "no rules"),
        "broken rules": ({"TOLLSPAN_CONFIG": str(broken)}, started, f"{broken}:3: "),
        "no such rules": ({"TOLLSPAN_CONFIG": "/no/such.yaml"}, started, "/no/such.yaml"),
        "no home": (
            {"TOLLSPAN_HOME": f"{os.devnull}/home", "TOLLSPAN_CONFIG": f"{tmp_path}/tollspan.yaml"},
            started,
            "set TOLLSPAN_HOME",
        ),
        "tampered prices": ({"TOLLSPAN_PRICE_BOOK": prices}, started, "it was altered"),
        "wrong setting": ({"TOLLSPAN_ACQUIRE_TIMEOUT": "soon"}, started, "TOLLSPAN_ACQUIRE"),
        "-I": ({}, [PYTHON, "-I", *started[1:]], "flag -I"),
        "-S -c": ({}, [PYTHON, "-uS", *started[1:]], "flag -uS"),
    }
    commands = {
        name: ([*RUN, "--strict", *command], {**env, **more})
        for name, (more, command, _) in cases.items()
    }
    for name, (exit_code, output, errors) in outcomes(commands).items():
        why = cases[name][2]
        assert (exit_code, output) == (1, ""), name
        assert why in errors, name
        assert errors.startswith("tollspan: "), name
        assert "Traceback" not in errors, name
    assert outcome([*RUN, "--strict", *started], env) == (0, "started\n", "")
    by_setting = {**env, "TOLLSPAN_STRICT": "true", "TOLLSPAN_CONFIG": str(broken)}
    assert outcome([*RUN, *started], by_setting)[0] == 1


def test_strict_refuses_a_python_that_has_no_tollspan(env: dict[str, str], tmp_path: Path) -> None:
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    other = str(tmp_path / "bare" / "bin" / "python")
    bare = {name: value for name, value in env.items() if name != "PYTHONPATH"}
    exit_code, output, errors = outcome([*RUN, "--strict", other, "-c", "print(1)"], bare)
    assert (exit_code, output) == (1, "")
    assert "calls are not gated" in errors
    exit_code, output, errors = outcome([*RUN, other, "-c", "print(1)"], bare)
    assert (exit_code, output) == (0, "1\n")
    assert "calls are not gated" in errors


def test_whatever_is_wrong_the_program_runs_and_is_told_once(
    env: dict[str, str], fake: FakeOpenAI, tmp_path: Path
) -> None:
    """Law 4 at the start; and a gate that can't work stays shut where there are budgets."""
    broken = tmp_path / "broken.yaml"
    broken.write_text(BROKEN)
    nowhere = f"{os.devnull}/home"
    config = {"TOLLSPAN_CONFIG": f"{tmp_path}/tollspan.yaml"}
    prices = str(tampered(tmp_path))
    bare = str(tmp_path / "bare")
    allowed, denied = "ok", "GateUnavailableError"
    cases = {
        "home can't be made": ({"TOLLSPAN_HOME": nowhere, **config}, denied, "set TOLLSPAN_HOME"),
        "no user's home": (
            {"TOLLSPAN_HOME": "~no-such-user/x", **config},
            denied,
            "TOLLSPAN_HOME is '~no-such-user/x'",
        ),
        "no rules": ({"TOLLSPAN_HOME": bare}, allowed, ""),
        "broken rules": ({"TOLLSPAN_CONFIG": str(broken)}, denied, f"{broken}:3: "),
        "missing rules": ({"TOLLSPAN_CONFIG": "/no/such.yaml"}, denied, "/no/such.yaml"),
        "tampered prices": ({"TOLLSPAN_PRICE_BOOK": prices}, denied, "it was altered"),
        "missing prices": ({"TOLLSPAN_PRICE_BOOK": "/no/prices.json"}, denied, "/no/prices.json"),
        "no prices, no rules": (
            {"TOLLSPAN_PRICE_BOOK": "/no/prices.json", "TOLLSPAN_HOME": bare},
            allowed,
            "/no/prices.json",
        ),
        "a number": ({"TOLLSPAN_ACQUIRE_TIMEOUT": "soon"}, allowed, "expected seconds"),
        "a choice": ({"TOLLSPAN_LOG_LEVEL": "loud"}, allowed, "expected one of WARNING"),
        "a switch": ({"TOLLSPAN_STRICT": "perhaps"}, allowed, "expected true or false"),
        "a payer": ({"TOLLSPAN_CUSTOMER": "x" * 257}, allowed, "TOLLSPAN_CUSTOMER has 257"),
    }
    code = f"{CALL}\nprint(call().split(':')[0])\nprint(call().split(':')[0])"
    commands = {
        name: ([*RUN, PYTHON, "-c", code], {**env, **more}) for name, (more, _, _) in cases.items()
    }
    for name, (exit_code, output, errors) in outcomes(commands).items():
        _, expected, why = cases[name]
        assert (exit_code, output) == (0, f"{expected}\n{expected}\n"), (name, errors)
        assert why in errors, name
        assert "Traceback" not in errors, (name, errors)
        # The ledger says too what becomes of the events, and when it is asked in vain.
        assert errors.count("\n") <= (3 if "HOME" in why else bool(why)), (name, errors)


def test_rules_that_can_not_be_read_deny_and_name_the_line(
    env: dict[str, str], fake: FakeOpenAI, tmp_path: Path
) -> None:
    path = harness.write_rules(tmp_path, text=BROKEN)
    code = f"{CALL}\nprint(call())"
    exit_code, output, _ = outcome([*RUN, PYTHON, "-c", code], env)
    assert exit_code == 0
    assert output.startswith("GateUnavailableError: ")
    assert f"{path}:3: " in output
    assert fake.hits == 0


def test_a_document_is_put_in_force_when_it_is_mended_and_kept_when_it_is_broken(
    env: dict[str, str], tmp_path: Path
) -> None:
    """Also in a program that never rests: it makes calls all the time."""
    path = harness.write_rules(tmp_path, text=BROKEN)
    code = f"""{CALL}
import sys, time
last = None
ends_at = time.monotonic() + 40
while time.monotonic() < ends_at and last != "BudgetExceededError":
    now = call().split(":")[0]
    if now != last:
        print(now, flush=True)
    last = now
    time.sleep(0.02)
"""
    process = subprocess.Popen(
        [*RUN, PYTHON, "-c", code],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "GateUnavailableError\n"
        harness.write_rules(tmp_path)
        assert process.stdout.readline() == "ok\n"
        path.write_text(BROKEN)
        for line in process.stderr:
            if "keeps its last good rules" in line:
                assert f"{path}:3: " in line
                break
        time.sleep(0.3)
        harness.write_rules(tmp_path, limit="0")
        assert process.stdout.readline() == "BudgetExceededError\n"
        assert process.wait(20) == 0
        process.stderr.read()


def test_without_a_document_calls_are_metered_and_none_is_denied(
    env: dict[str, str], fake: FakeOpenAI, tmp_path: Path
) -> None:
    (tmp_path / "tollspan.yaml").unlink()
    assert outcome([*RUN, PYTHON, "-c", f"{CALL}\nprint(call())"], env) == (0, "ok\n", "")
    (event,) = harness.usage_events(tmp_path)
    assert event.usage is not None
    assert event.usage.output_tokens == 10


def test_a_python_that_runs_no_hooks_is_named(env: dict[str, str]) -> None:
    flags = ("-I", "-S", "-E", "-uIB")
    cases = {flag: ([*RUN, PYTHON, flag, "-c", "print(1)"], env) for flag in flags}
    for flag, (exit_code, output, errors) in outcomes(cases).items():
        assert (exit_code, output) == (0, "1\n")
        assert f"a Python with {flag} runs no start-up hook" in errors


def test_a_program_without_calls_pays_for_nothing_it_does_not_use(
    env: dict[str, str], tmp_path: Path
) -> None:
    code = """
import sys, threading
heavy = ("openai", "httpx", "httpx2", "grpc", "requests", "opentelemetry.sdk.trace",
         "opentelemetry.sdk.metrics", "opentelemetry.exporter.otlp")
print([name for name in heavy if name in sys.modules], threading.active_count())
"""
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    for more in ({}, otlp):
        assert outcome([*RUN, PYTHON, "-c", code], {**env, **more}) == (0, "[] 1\n", "")
    assert not (tmp_path / "ledger.db").exists()
