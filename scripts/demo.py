"""The main job, for eyes: a real program with the real SDK, unchanged, runs into a budget.

The provider is a fake on loopback that speaks the real protocol, so no key and no money is needed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.fakes.otlp_receiver import OtlpReceiver, ReceivedSpan  # noqa: E402 - after the path

HOME = ROOT / ".cache" / "demo"
AGENT = ROOT / "examples" / "agent"
TOLLSPAN = str(Path(sys.executable).parent / "tollspan")
ANSWER = (
    "Small differences decide it. Where the flow is a little faster, more is carried away; where "
    "it is slower, more is left behind. Each difference feeds the next, until the pattern is large "
    "enough to see. The same holds for many patterns in nature: none was planned, all were kept. "
) * 2


def main() -> int:
    """Run the demo; return the program's exit code."""
    shutil.rmtree(HOME, ignore_errors=True)
    provider = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.openai_server", "--until-eof", "--text", ANSWER],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert provider.stdin is not None
    assert provider.stdout is not None
    try:
        base_url = provider.stdout.readline().strip()
        with OtlpReceiver() as collector:
            code = show(base_url, collector)
    finally:
        provider.stdin.close()
        provider.wait(timeout=10)
        provider.stdout.close()
    return code


def show(base_url: str, collector: OtlpReceiver) -> int:
    """Run the program, then look at what it left: traces, events, sums, budgets."""
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OTEL_")},
        "OPENAI_API_KEY": "no-key-is-needed",
        "OPENAI_BASE_URL": base_url,
        "TOLLSPAN_HOME": str(HOME),
        "TOLLSPAN_CONFIG": str(AGENT / "tollspan.yaml"),
        **collector.environment,
    }
    code = step(env, "tollspan", "run", "python", "app.py", "5")
    title("What a trace backend received (two of the spans)")
    for span in (collector.spans[0], collector.spans[-1]):
        print(describe(span))
    step(env, "tollspan", "events", "-n", "5")
    step(env, "tollspan", "report")
    step(env, "tollspan", "budgets")
    title("What the provider counted")
    with urllib.request.urlopen(f"{base_url.removesuffix('/v1')}/_fake/stats") as answer:
        stats = json.load(answer)
    print(f"{stats['hits']} requests, billed {stats['billed_nanousd'] / 1e9:.9f} USD")
    return code


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
        if name.startswith(("tollspan.", "gen_ai.usage", "gen_ai.response.model", "error.")):
            lines.append(f"      {name:<28} {value}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
