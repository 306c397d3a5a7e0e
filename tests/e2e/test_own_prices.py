"""A program's calls under prices of the operator's own, from the gate to the ledger."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.fakes import FakeOpenAI, Reply
from tests.harness import environment, program, run, write_rules

TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
PROGRAM = """
    from openai import OpenAI
    client = OpenAI(max_retries=0)
    for model in ("gpt-4o", "our-own"):
        try:
            client.chat.completions.create(
                model=model, max_tokens=100, messages=[{"role": "user", "content": "Hi"}]
            )
            print("ok")
        except Exception as error:
            print(type(error).__name__, error)
    client.close()
"""
OWN = """\
version: 1
models:
  openai/gpt-4o: {usd_per_million: {input: 0, output: 1000}}
  openai/our-own: {usd_per_million: {input: 0, output: 2000}}
"""


def test_calls_are_held_and_priced_by_the_operators_prices(tmp_path: Path) -> None:
    """100 tokens at 1,000 USD per million fit 0.15 USD; at 2,000 they don't."""
    write_rules(tmp_path, limit="0.15")
    (tmp_path / "prices.yaml").write_text(OWN)
    with FakeOpenAI(default=Reply(output_tokens=50)) as fake:
        env = environment(tmp_path, fake.base_url, TOLLSPAN_PRICES=str(tmp_path / "prices.yaml"))
        done = run(program(PROGRAM), env)
        assert done.stdout.splitlines()[0] == "ok", done.stderr
        assert done.stdout.splitlines()[1].startswith("BudgetExceededError ")
        assert "may cost up to 0.20 USD" in done.stdout
        listed = run([TOLLSPAN, "events", "--json"], env).stdout.splitlines()
    event = json.loads(listed[0])
    assert event["cost_nanousd"] == "50000000"
    # It asked for no tier, so the input may be billed at the book's priority price.
    assert 100_000_000 < int(event["bound_nanousd"]) < 110_000_000
    assert event["price_rows"] == ["own:openai/gpt-4o:standard@"]
    assert "+" in event["price_book"]


def test_prices_with_a_mistake_deny_and_say_where(tmp_path: Path) -> None:
    write_rules(tmp_path, limit="5")
    (tmp_path / "prices.yaml").write_text(OWN.replace("output: 2000", "output: dear"))
    with FakeOpenAI() as fake:
        env = environment(tmp_path, fake.base_url, TOLLSPAN_PRICES=str(tmp_path / "prices.yaml"))
        done = run(program(PROGRAM), env)
        assert done.returncode == 0
        assert fake.hits == 0
    for line in done.stdout.splitlines():
        assert line.startswith("GateUnavailableError ")
        assert "prices.yaml:4: `output` is 'dear'; expected an amount in USD" in line
    check = run([TOLLSPAN, "prices", "check"], env)
    assert check.returncode == 1
    assert "prices.yaml:4: `output` is 'dear'" in check.stdout
    assert "prices.yaml:4: `output` is 'dear'" in run([TOLLSPAN, "doctor"], env).stdout
