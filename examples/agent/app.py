"""A small research assistant: asks two providers the same question, in six ways, round after round.

Usage: python app.py [rounds]

Its only settings are those that the SDKs read by themselves: OPENAI_API_KEY, ANTHROPIC_API_KEY, and
OPENAI_BASE_URL, ANTHROPIC_BASE_URL where the providers are elsewhere. It knows nothing of budgets.
"""

import asyncio
import sys
from typing import Literal

from anthropic import Anthropic, AsyncAnthropic
from anthropic.types import MessageParam
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam
from pydantic import BaseModel

GPT = "gpt-4o-mini"
CLAUDE = "claude-haiku-4-5"
MOST_TOKENS = 200
SYSTEM = "You are a careful research assistant. Answer in one short paragraph."
QUESTIONS = [
    "Why do rivers meander?",
    "How do birds find their way?",
    "Why is the sky dark at night?",
]


class Finding(BaseModel):
    answer: str
    confidence: Literal["low", "medium", "high"]


def prompt(question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def claude_prompt(question: str) -> list[MessageParam]:
    return [{"role": "user", "content": question}]


def ask(question: str) -> str:
    with OpenAI() as client:
        completion = client.chat.completions.create(
            model=GPT, max_tokens=MOST_TOKENS, messages=prompt(question)
        )
    return completion.choices[0].message.content or ""


async def ask_async(question: str) -> str:
    async with AsyncOpenAI() as client:
        completion = await client.chat.completions.create(
            model=GPT, max_tokens=MOST_TOKENS, messages=prompt(question)
        )
    return completion.choices[0].message.content or ""


def ask_streamed(question: str) -> str:
    with OpenAI() as client:
        stream = client.chat.completions.create(
            model=GPT, max_tokens=MOST_TOKENS, messages=prompt(question), stream=True
        )
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def ask_for_a_finding(question: str) -> str:
    with OpenAI() as client:
        response = client.responses.parse(
            model=GPT,
            max_output_tokens=MOST_TOKENS,
            instructions=SYSTEM,
            input=question,
            text_format=Finding,
        )
    finding = response.output_parsed
    return f"[{finding.confidence}] {finding.answer}" if finding else ""


async def ask_claude_streamed(question: str) -> str:
    async with (
        AsyncAnthropic() as client,
        client.messages.stream(
            model=CLAUDE, max_tokens=MOST_TOKENS, system=SYSTEM, messages=claude_prompt(question)
        ) as stream,
    ):
        return await stream.get_final_text()


def ask_claude_raw(question: str) -> str:
    with Anthropic() as client:
        response = client.messages.with_raw_response.create(
            model=CLAUDE, max_tokens=MOST_TOKENS, system=SYSTEM, messages=claude_prompt(question)
        )
        message = response.parse()
    return "".join(block.text for block in message.content if block.type == "text")


WAYS = {
    "openai": ask,
    "openai, async": lambda question: asyncio.run(ask_async(question)),
    "openai, streamed": ask_streamed,
    "openai, parsed": ask_for_a_finding,
    "anthropic, streamed": lambda question: asyncio.run(ask_claude_streamed(question)),
    "anthropic, raw": ask_claude_raw,
}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for number in range(rounds):
        question = QUESTIONS[number % len(QUESTIONS)]
        for name, way in WAYS.items():
            try:
                said = f"{question} {way(question)}"[:60] + "…"
            except Exception as error:
                said = f"stopped: {error}"
            print(f"{number + 1} {name:<19}  {said}", flush=True)


if __name__ == "__main__":
    main()
