"""A Celery application without a service: its broker and its results are folders.

`python tasks.py NUMBER` sends so many tasks and prints what became of each, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import openai
from celery import Celery  # type: ignore[import-untyped]  # Celery has no types

from tollspan.api import CallDeniedError

_FOLDER = Path(os.environ["CELERY_FOLDER"])
_PATIENCE_SECONDS = 60

for _name in ("broker", "control", "results"):
    (_FOLDER / _name).mkdir(parents=True, exist_ok=True)

app = Celery("tasks", broker="filesystem://", backend=f"file://{_FOLDER}/results")
app.conf.update(
    broker_transport_options={
        "data_folder_in": f"{_FOLDER}/broker",
        "data_folder_out": f"{_FOLDER}/broker",
        "control_folder": f"{_FOLDER}/control",
    },
    worker_prefetch_multiplier=1,
    broker_connection_retry_on_startup=False,
)
client = openai.OpenAI(max_retries=0)


@app.task(name="ask", throws=(CallDeniedError,))  # type: ignore[untyped-decorator]  # Celery has no types
def ask() -> int:
    """Make one call; a refusal fails the task."""
    asked: dict[str, Any] = {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "a prompt that nobody else may see"}],
        "max_tokens": 100,
    }
    client.chat.completions.create(**asked)
    return os.getpid()


def main(tasks: int) -> None:
    """Send tasks, and wait for them."""
    outcomes: list[object] = []
    for result in [ask.delay() for _ in range(tasks)]:
        answer = result.get(timeout=_PATIENCE_SECONDS, propagate=False)
        outcomes.append(answer if isinstance(answer, int) else type(answer).__name__)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(int(sys.argv[1]))
