"""The main job, for eyes: a real program with two real SDKs, unchanged, runs into its budgets.

The providers are fakes on loopback that speak the real protocols and keep their own bills, so no
key and no money is needed. With `OTEL_EXPORTER_OTLP_ENDPOINT` set, traces go there instead.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes import FakeAnthropic, FakeOpenAI, Reply, ToolCall  # noqa: E402 - after the path
from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedSpan  # noqa: E402
from tollspan.ledger import LEDGER_FILE, LedgerReader  # noqa: E402

HOME = ROOT / ".cache" / "demo"
AGENT = ROOT / "examples" / "agent"
TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
ANSWER = (
    "Thank you for asking. We looked into it, and it is on its way: you will have it by Friday. "
    "If it is not there by then, write to us again and we will send you another one at once. "
) * 2
TICKET = json.dumps({"topic": "orders", "urgency": "high"})


def main() -> int:
    """Run the demo; return 0 when the program ran and the books agree with the providers'."""
    shutil.rmtree(HOME, ignore_errors=True)
    latency = 0.0 if os.environ.get("CI") else 0.15  # so that one can watch
    with (
        FakeOpenAI(Reply(text=ANSWER)) as openai,
        FakeAnthropic(Reply(text=ANSWER, latency_seconds=latency)) as anthropic,
        OtlpReceiver() as collector,
    ):
        openai.script.respond = lambda request, headers, hit: answer(request, latency)  # noqa: ARG005 - the fake's
        env = {
            **os.environ,
            "OPENAI_API_KEY": "no-key-is-needed",
            "OPENAI_BASE_URL": openai.base_url,
            "ANTHROPIC_API_KEY": "no-key-is-needed",
            "ANTHROPIC_BASE_URL": anthropic.base_url,
            "ANTHROPIC_OPEN_TELEMETRY": "false",
            "TOLLSPAN_HOME": str(HOME),
            "TOLLSPAN_CONFIG": str(AGENT / "tollspan.yaml"),
            "OTEL_SERVICE_NAME": "support-desk",
        }
        backend = os.environ.get(ENDPOINT)
        if not backend:
            env |= collector.environment
        code = show(env, collector, backend)
        title("What the providers counted")
        return code or compare({"openai": openai, "anthropic": anthropic})


def answer(request: Any, latency: float) -> Reply:
    """Answer in prose, as the shape that was asked for, or by asking for a tool."""
    asked: Mapping[str, Any] = (
        cast("Mapping[str, Any]", request) if isinstance(request, dict) else {}
    )
    if "text" in asked:
        return Reply(text=TICKET, latency_seconds=latency)
    if "tools" in asked:
        query = json.dumps({"query": asked["messages"][-1]["content"]})
        call = ToolCall(name="search_help", arguments=query)
        return Reply(text="", tool_calls=(call,), latency_seconds=latency)
    return Reply(text=ANSWER, latency_seconds=latency)


def show(env: dict[str, str], collector: OtlpReceiver, backend: str | None) -> int:
    """Run the program, then look at what it left: traces, events, sums, budgets."""
    code = step(env, "tollspan", "run", "python", "app.py")
    if backend:
        title(f"The traces are at {backend}, service support-desk.")
    else:
        title("One question's trace, as a backend received it (set OTEL_EXPORTER_OTLP_ENDPOINT for")
        print("your own: Jaeger, Tempo or any other)")
        print_trace(collector.spans)
    step(env, "tollspan", "events", "-n", "3")
    step(env, "tollspan", "report", "--by", "customer")
    step(env, "tollspan", "budgets")
    return code


def compare(providers: Mapping[str, FakeAnthropic | FakeOpenAI]) -> int:
    """Print the providers' bills beside the ledger's sum; return 0 when they are equal."""
    for name, fake in providers.items():
        print(f"{name:<10} {fake.hits:>2} requests, billed {usd(fake.billed_nanousd)}")
    billed = sum(fake.billed_nanousd for fake in providers.values())
    rows = LedgerReader(HOME / LEDGER_FILE).report(("provider",))
    posted = sum(row.cost_nanousd for row in rows if row.values[0] in providers)
    tools = sum(row.cost_nanousd for row in rows if row.values[0] == "tool")
    same = "the same" if posted == billed else "NOT THE SAME"
    print(f"together {usd(billed)}, in the ledger {usd(posted)}: {same}")
    print(f"and the program's own tools, which no provider bills: {usd(tools)}")
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


def print_trace(spans: list[ReceivedSpan]) -> None:
    """Print the trace in which a call was refused, as a trace view shows it."""
    refused = next(
        (span for span in spans if span.attributes.get("tollspan.decision") == "deny"), spans[0]
    )
    trace = [span for span in spans if span.trace_id == refused.trace_id]
    children: dict[str, list[ReceivedSpan]] = {}
    for span in trace:
        children.setdefault(span.parent_id, []).append(span)

    def draw(span: ReceivedSpan, depth: int) -> None:
        said = span.attributes
        cost = said.get("tollspan.cost.nanousd")
        what = usd(cost) if isinstance(cost, int) else ""
        if said.get("tollspan.decision") == "deny":
            what = f"deny by {said.get('tollspan.rule.id')}"
        print(f"  {'  ' * depth + span.name:<36} {what:<18} {said.get('tollspan.customer.id', '')}")
        for child in children.get(span.span_id, []):
            draw(child, depth + 1)

    known = {span.span_id for span in trace}
    for root in trace:
        if root.parent_id not in known:
            draw(root, 0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
