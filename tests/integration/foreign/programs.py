"""Programs with other people's instrumentors, and what tollspan's ledger then holds.

A program is forked from nothing: each has an interpreter of its own, since instrumentors can't be
taken off reliably.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from tests import harness

FAMILIES = {
    "official": {
        "openai": "opentelemetry.instrumentation.genai.openai:OpenAIInstrumentor",
        "anthropic": "opentelemetry.instrumentation.genai.anthropic:AnthropicInstrumentor",
    },
    "openllmetry": {
        "openai": "opentelemetry.instrumentation.openai:OpenAIInstrumentor",
        "anthropic": "opentelemetry.instrumentation.anthropic:AnthropicInstrumentor",
    },
    "openinference": {
        "openai": "openinference.instrumentation.openai:OpenAIInstrumentor",
        "anthropic": "openinference.instrumentation.anthropic:AnthropicInstrumentor",
    },
    "native": {},
    "langchain, official": {
        "langchain": "opentelemetry.instrumentation.genai.langchain:LangChainInstrumentor"
    },
    "langchain, openllmetry": {
        "langchain": "opentelemetry.instrumentation.langchain:LangchainInstrumentor"
    },
    "langchain, openinference": {
        "langchain": "openinference.instrumentation.langchain:LangChainInstrumentor"
    },
}
OPENING = """
import asyncio, json, sys, warnings
warnings.simplefilter("ignore")
from importlib import import_module
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from tollspan.launch import install_or_raise

def instrument(where):
    module, _, name = where.partition(":")
    getattr(import_module(module), name)().instrument(skip_dep_check=True)

def without_hooks(installed):
    for hooks in installed.hooks.values():
        hooks.remove()

provider = TracerProvider(**SAMPLING)
trace.set_tracer_provider(provider)
installed = install_or_raise()
if not HOOKS:
    without_hooks(installed)
for where in INSTRUMENTORS:
    instrument(where)
said = []
def attempt(work):
    try:
        work()
        said.append("ok")
    except Exception as error:
        said.append(type(error).__name__)
"""
CALLS = {
    "openai chat": """
import openai
client = openai.OpenAI(max_retries=0)
attempt(lambda: client.chat.completions.create(
    model="gpt-4o-mini", max_tokens=20, messages=[{"role": "user", "content": "hi"}]))
""",
    "openai stream": """
import openai
client = openai.OpenAI(max_retries=0)
def work():
    for _ in client.chat.completions.create(
        model="gpt-4o-mini", max_tokens=20, stream=True,
        stream_options={"include_usage": True}, messages=[{"role": "user", "content": "hi"}]):
        pass
attempt(work)
""",
    "openai async": """
import openai
async def work():
    async with openai.AsyncOpenAI(max_retries=0) as client:
        await client.chat.completions.create(
            model="gpt-4o-mini", max_tokens=20, messages=[{"role": "user", "content": "hi"}])
attempt(lambda: asyncio.run(work()))
""",
    "openai side by side": """
import openai
async def work():
    async with openai.AsyncOpenAI(max_retries=0) as client:
        await asyncio.gather(*[client.chat.completions.create(
            model="gpt-4o-mini", max_tokens=20, messages=[{"role": "user", "content": "hi"}])
            for _ in range(8)])
attempt(lambda: asyncio.run(work()))
""",
    "openai responses": """
import openai
client = openai.OpenAI(max_retries=0)
attempt(lambda: client.responses.create(model="gpt-4o-mini", max_output_tokens=20, input="hi"))
""",
    "openai embeddings": """
import openai
client = openai.OpenAI(max_retries=0)
attempt(lambda: client.embeddings.create(model="text-embedding-3-small", input="hi"))
""",
    "langchain invoke": """
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="gpt-4o-mini", max_tokens=20, max_retries=0, stream_usage=True)
attempt(lambda: model.invoke("hi"))
""",
    "langchain stream": """
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="gpt-4o-mini", max_tokens=20, max_retries=0, stream_usage=True)
attempt(lambda: list(model.stream("hi")))
""",
    "langchain async": """
from langchain_openai import ChatOpenAI
model = ChatOpenAI(model="gpt-4o-mini", max_tokens=20, max_retries=0, stream_usage=True)
attempt(lambda: asyncio.run(model.ainvoke("hi")))
""",
    "anthropic messages": """
import anthropic
client = anthropic.Anthropic(max_retries=0)
attempt(lambda: client.messages.create(
    model="claude-haiku-4-5", max_tokens=20, messages=[{"role": "user", "content": "hi"}]))
""",
    "anthropic stream": """
import anthropic
client = anthropic.Anthropic(max_retries=0)
def work():
    for _ in client.messages.create(
        model="claude-haiku-4-5", max_tokens=20, stream=True,
        messages=[{"role": "user", "content": "hi"}]):
        pass
attempt(work)
""",
}
CLOSING = """
provider.shutdown()
print("SAID " + json.dumps(said))
"""


def run(
    home: Path,
    base_url: str,
    *calls: str,
    families: tuple[str, ...] = ("official",),
    hooks: bool = False,
    sampled: float = 1.0,
    **env: str,
) -> list[str]:
    """Run calls in a program with these instrumentors; return how each of them went.

    Args:
        home: Of the ledger; its rules are there already.
        base_url: Of the fake provider.
        calls: Keys of `CALLS`.
        families: Keys of `FAMILIES`, in the order of installation.
        hooks: Leave our own hooks in the SDKs.
        sampled: The share of traces that is sampled.
        env: Further variables.
    """
    of = {call.partition(" ")[0] for call in calls}
    of |= {"openai"} if "langchain" in of else set()
    where = [place for family in families for sdk, place in FAMILIES[family].items() if sdk in of]
    sampling = "{}" if sampled == 1 else f"dict(sampler=ParentBased(TraceIdRatioBased({sampled})))"
    code = textwrap.dedent(OPENING).replace("SAMPLING", sampling)
    code = code.replace("HOOKS", repr(hooks)).replace("INSTRUMENTORS", repr(where))
    code += "".join(CALLS[call] for call in calls) + CLOSING
    environ = harness.environment(
        home,
        base_url,
        ANTHROPIC_BASE_URL=base_url.removesuffix("/v1"),
        ANTHROPIC_API_KEY="sk-test",
        **env,
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=home,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert lines, done.stderr
    found: Any = json.loads(lines[-1].removeprefix("SAID "))
    return list(found)
