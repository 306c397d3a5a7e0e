"""A support desk: an agent answers the questions of three customers, with tools, on two providers.

Usage: python app.py

Its settings are those that the SDKs read by themselves: OPENAI_API_KEY, ANTHROPIC_API_KEY, and
OPENAI_BASE_URL, ANTHROPIC_BASE_URL where the providers are elsewhere. Its traces go where
OTEL_EXPORTER_OTLP_ENDPOINT says, if it says so. It knows nothing of limits: those are in
tollspan.yaml. What it does know is whom it works for, and what its own tools cost.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from typing import Literal

from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from opentelemetry import trace
from pydantic import BaseModel

from tollspan.api import CallDeniedError, attribution, report_usage, tool

GPT = "gpt-4o-mini"
CLAUDE = "claude-haiku-4-5"
MOST_TOKENS = 200
INBOX = {
    "acme": ["Where is my order?", "Can I return it?", "Do you ship to Norway?"],
    "globex": ["Why was I charged twice?"],
    "initech": ["Where are my reports?"],
}
SEARCH: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "search_help",
        "description": "Search the help pages.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
    },
}
tracer = trace.get_tracer("support-desk")


class Ticket(BaseModel):
    topic: str
    urgency: Literal["low", "medium", "high"]


@tool(cost="0.0001 USD")
def search_help(query: str) -> str:
    """Search the help pages, for a hundredth of a cent."""
    return f"Three pages say something of {query!r}."


@tool(unit="pages", price="0.00002 USD", max_units=5)
async def read_pages(count: int) -> AsyncIterator[str]:
    """Read help pages one by one; each is paid for."""
    for number in range(count):
        await asyncio.sleep(0.02)
        report_usage(tool="read_pages", metric="pages", value=1)
        yield f"Page {number + 1}"


def triage(question: str) -> Ticket | None:
    """Sort a question: a parsed answer, synchronous."""
    with OpenAI() as client:
        response = client.responses.parse(
            model=GPT, max_output_tokens=MOST_TOKENS, input=question, text_format=Ticket
        )
    return response.output_parsed


async def research(question: str) -> str:
    """Let the model call a tool, and give it what that found: asynchronous."""
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": question}]
    async with AsyncOpenAI() as client:
        completion = await client.chat.completions.create(
            model=GPT, max_tokens=MOST_TOKENS, messages=messages, tools=[SEARCH]
        )
        asked = completion.choices[0].message.tool_calls or []
        found = [
            search_help(**json.loads(one.function.arguments))
            for one in asked
            if one.type == "function"
        ]
        found += [page async for page in read_pages(2)]
    return " ".join(found)


def draft(question: str, facts: str) -> str:
    """Write a first answer: streamed, synchronous."""
    with OpenAI() as client:
        stream = client.chat.completions.create(
            model=GPT,
            max_tokens=MOST_TOKENS,
            stream=True,
            messages=[
                {"role": "system", "content": facts},
                {"role": "user", "content": question},
            ],
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


async def polish(text: str) -> str:
    """Make it kinder: the other provider, streamed, asynchronous."""
    async with (
        AsyncAnthropic() as client,
        client.messages.stream(
            model=CLAUDE, max_tokens=MOST_TOKENS, messages=[{"role": "user", "content": text}]
        ) as stream,
    ):
        return await stream.get_final_text()


def check(text: str) -> int:
    """Have it read once more, as a raw response, synchronous."""
    with Anthropic() as client:
        response = client.messages.with_raw_response.create(
            model=CLAUDE, max_tokens=MOST_TOKENS, messages=[{"role": "user", "content": text}]
        )
        return response.parse().usage.output_tokens


async def answer(customer: str, number: int, question: str) -> None:
    """Answer one question, and say how it goes."""

    def say(step: str, what: str) -> None:
        print(f"{customer:<8} #{number}  {step:<8}  {what[:56]}", flush=True)

    with (
        tracer.start_as_current_span(f"answer {customer} #{number}"),
        attribution(customer=customer, session=f"{customer}-{number}", agent="support-desk"),
    ):
        try:
            ticket = await asyncio.to_thread(triage, question)
            say("triage", f"{question} {ticket}")
            facts = await research(question)
            say("research", facts)
            text = await asyncio.to_thread(draft, question, facts)
            say("draft", text)
            text = await polish(text)
            say("polish", text)
            say("check", f"{await asyncio.to_thread(check, text)} tokens said about it")
        except CallDeniedError as denial:
            say("STOPPED", denial.message or str(denial))


async def serve(customer: str, questions: list[str]) -> None:
    """Answer a customer's questions one after the other."""
    for number, question in enumerate(questions, start=1):
        await answer(customer, number, question)


def trace_to_backend() -> None:
    """Send traces where the standard settings say, as any program with OpenTelemetry does."""
    if "OTEL_EXPORTER_OTLP_ENDPOINT" not in os.environ:
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


async def main() -> None:
    """Serve all customers at the same time."""
    await asyncio.gather(*(serve(customer, questions) for customer, questions in INBOX.items()))


if __name__ == "__main__":
    trace_to_backend()
    asyncio.run(main())
