"""A small research assistant: asks a model the same question in three ways, round after round.

Usage: python app.py [rounds]

Its only settings are OPENAI_API_KEY and OPENAI_BASE_URL, which the SDK reads by itself.
"""

import asyncio
import sys

from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam

MODEL = "gpt-4o-mini"
MAX_TOKENS = 200
SYSTEM = "You are a careful research assistant. Answer in one short paragraph."
QUESTIONS = [
    "Why do rivers meander?",
    "How do migrating birds find their way?",
    "What keeps a suspension bridge from swaying?",
    "Why is the sky dark at night?",
]


def prompt(question: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]


def ask(question: str) -> str:
    with OpenAI() as client:
        completion = client.chat.completions.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=prompt(question)
        )
    return completion.choices[0].message.content or ""


async def ask_async(question: str) -> str:
    async with AsyncOpenAI() as client:
        completion = await client.chat.completions.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=prompt(question)
        )
    return completion.choices[0].message.content or ""


def ask_streamed(question: str) -> str:
    answer = ""
    with OpenAI() as client:
        stream = client.chat.completions.create(
            model=MODEL, max_tokens=MAX_TOKENS, messages=prompt(question), stream=True
        )
        for chunk in stream:
            answer += chunk.choices[0].delta.content or ""
    return answer


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    ways = {
        "sync": ask,
        "async": lambda question: asyncio.run(ask_async(question)),
        "streamed": ask_streamed,
    }
    for number in range(rounds):
        question = QUESTIONS[number % len(QUESTIONS)]
        for name, way in list(ways.items()):
            try:
                answer = way(question)
            except Exception as error:
                print(f"{number + 1:>3} {name:<8}  stopped: {error}", flush=True)
                del ways[name]
            else:
                print(f"{number + 1:>3} {name:<8}  {question} {answer.strip()[:50]}…", flush=True)


if __name__ == "__main__":
    main()
