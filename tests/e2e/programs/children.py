"""A program whose children make calls: `python children.py METHOD`, a method of multiprocessing.

The last line of its output says how often a call was answered in each kind of child.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.context import BaseContext
from typing import Any

import openai

from tollspan.api import CallDeniedError

ASKED: dict[str, Any] = {
    "model": "gpt-4o-mini",
    "messages": [{"role": "user", "content": "hi"}],
    "max_tokens": 50,
}


def call(_: int = 0) -> str:
    """Make one call; a forked child has a client of its own."""
    with openai.OpenAI(max_retries=0) as client:
        try:
            client.chat.completions.create(**ASKED)
        except CallDeniedError as denial:
            return type(denial).__name__
    return "ok"


def ask_too_much() -> None:
    """Make one call that may cost more than there is, and let the parent catch the refusal."""
    with openai.OpenAI(max_retries=0) as client:
        client.chat.completions.create(**{**ASKED, "max_tokens": 16_000})


def call_and_leave_at_once() -> None:
    """End without anything that runs at exit."""
    code = 0 if call() == "ok" else 3
    os._exit(code)


def call_and_leave_a_stream() -> None:
    """End in good order, with a stream that nobody has read to its end."""
    client = openai.OpenAI(max_retries=0)
    stream = client.chat.completions.create(stream=True, **ASKED)
    next(iter(stream))
    globals()["kept"] = (client, stream)


def main(context: BaseContext) -> None:
    """Make twelve calls, eleven of them in children, and one that is refused in a child."""
    outcomes = [call()]
    for target in (call, call_and_leave_at_once, call_and_leave_a_stream):
        child: Any = context.Process(target=target)  # type: ignore[attr-defined]  # each has it
        child.start()
        child.join()
        outcomes.append("ok" if child.exitcode == 0 else str(child.exitcode))
    with context.Pool(2) as pool:
        outcomes += pool.map(call, range(4), chunksize=1)
        pool.close()
        pool.join()
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        outcomes += executor.map(call, range(4))
        denied = executor.submit(ask_too_much).exception()
    print(dict(Counter(outcomes)), type(denied).__name__, getattr(denied, "rule_id", None))


if __name__ == "__main__":
    main(multiprocessing.get_context(sys.argv[1]))
