"""The main job, for eyes: a real program with two real SDKs, unchanged, runs into a budget.

The providers are fakes on loopback that speak the real protocols and keep their own bills, so no
key and no money is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes import FakeAnthropic, FakeOpenAI, Reply  # noqa: E402 - after the path
from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedSpan  # noqa: E402
from tollspan.ledger import LEDGER_FILE, LedgerReader  # noqa: E402

HOME = ROOT / ".cache" / "demo"
AGENT = ROOT / "examples" / "agent"
TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
ANSWER = (
    "Small differences decide it. Where the flow is a little faster, more is carried away; where "
    "it is slower, more is left behind. Each difference feeds the next, until the pattern is large "
    "enough to see. The same holds for many patterns in nature: none was planned, all were kept. "
) * 2
FINDING = json.dumps({"answer": ANSWER, "confidence": "high"})
SHOWN = ("gen_ai.provider", "gen_ai.usage", "tollspan.cost.nano", "tollspan.decision", "error.")


def main() -> int:
    """Run the demo; return 0 when the program ran and the books agree with the providers'."""
    shutil.rmtree(HOME, ignore_errors=True)
    with (
        FakeOpenAI(Reply(text=ANSWER)) as openai,
        FakeAnthropic(Reply(text=ANSWER)) as anthropic,
        OtlpReceiver() as collector,
    ):
        openai.script.respond = answer
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
            "OPENAI_API_KEY": "no-key-is-needed",
            "OPENAI_BASE_URL": openai.base_url,
            "ANTHROPIC_API_KEY": "no-key-is-needed",
            "ANTHROPIC_BASE_URL": anthropic.base_url,
            "TOLLSPAN_HOME": str(HOME),
            "TOLLSPAN_CONFIG": str(AGENT / "tollspan.yaml"),
            **collector.environment,
        }
        code = show(env, collector)
        title("What the providers counted")
        return code or compare({"openai": openai, "anthropic": anthropic})


def answer(request: object, headers: Mapping[str, str], hit: int) -> Reply:  # noqa: ARG001 - the fake's
    """Answer in prose, or as the shape that was asked for."""
    wants_shape = isinstance(request, dict) and "text" in request
    return Reply(text=FINDING if wants_shape else ANSWER)


def show(env: dict[str, str], collector: OtlpReceiver) -> int:
    """Run the program, then look at what it left: traces, events, sums, budgets."""
    code = step(env, "tollspan", "run", "python", "app.py")
    title("What a trace backend received (two of the spans)")
    for span in (collector.spans[0], collector.spans[-1]):
        print(describe(span))
    step(env, "tollspan", "events", "-n", "4")
    step(env, "tollspan", "report")
    step(env, "tollspan", "budgets")
    return code


def compare(providers: Mapping[str, FakeAnthropic | FakeOpenAI]) -> int:
    """Print the providers' bills beside the ledger's sum; return 0 when they are equal."""
    for name, fake in providers.items():
        print(f"{name:<10} {fake.hits:>2} requests, billed {usd(fake.billed_nanousd)}")
    billed = sum(fake.billed_nanousd for fake in providers.values())
    posted = sum(row.cost_nanousd for row in LedgerReader(HOME / LEDGER_FILE).report(("model",)))
    same = "the same" if posted == billed else "NOT THE SAME"
    print(f"together {usd(billed)}, in the ledger {usd(posted)}: {same}")
    return int(posted != billed)


def usd(nanousd: int) -> str:
    """Write an amount to the nano-dollar."""
    return f"{nanousd // 10**9}.{nanousd % 10**9:09} USD"


def step(env: dict[str, str], *command: str) -> int:
    """Print a command and run it."""
    title("$ " + " ".join(command))
    real = [TOLLSPAN if word == "tollspan" else word for word in command]
    real = [sys.executable if word == "python" else word for word in real]
    return subprocess.run(real, env=env, cwd=AGENT, check=False).returncode


def title(text: str) -> None:
    """Set a step apart."""
    print(f"\n{text}", flush=True)


def describe(span: ReceivedSpan) -> str:
    """Write a span as a trace view does: name, status, and the attributes that matter here."""
    status = span.status.removeprefix("STATUS_CODE_").lower()
    lines = [f"  {span.name}  [{status}]"]
    for name, value in sorted(span.attributes.items()):
        if name.startswith(SHOWN):
            lines.append(f"      {name:<28} {value}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
