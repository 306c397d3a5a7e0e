"""A worker that sorts support tickets, with OpenAI: `python worker.py redis://HOST:PORT/DB`.

It takes jobs, {"id": ..., "text": "..."}, from the list `jobs`, and puts what became of them into
the list `done`: {"id": ..., "topic": "..."}, or "error" in place of the topic. Its settings are
those that the SDK reads by itself: OPENAI_API_KEY, OPENAI_BASE_URL.
"""

import json
import signal
import sys

from openai import OpenAI
from opentelemetry import trace
from redis import Redis

client = OpenAI()
tracer = trace.get_tracer("worker")


def topic_of(text: str) -> str:
    """Have a ticket sorted."""
    done = client.chat.completions.create(
        model="gpt-4o-mini",
        max_tokens=400,
        messages=[
            {"role": "system", "content": "Name the topic of the ticket: orders, bills, other."},
            {"role": "user", "content": text},
        ],
    )
    return done.choices[0].message.content or "other"


def work(queue: Redis) -> None:
    """Take jobs until told to end; a job that fails holds no other one up."""
    print("waiting for jobs", flush=True)
    while True:
        taken = queue.blpop(["jobs"], timeout=1)
        if not taken:
            continue
        job = json.loads(taken[1])
        with tracer.start_as_current_span("job", kind=trace.SpanKind.CONSUMER) as span:
            try:
                done = {"id": job["id"], "topic": topic_of(job["text"])}
            except Exception as error:
                span.record_exception(error)
                done = {"id": job["id"], "error": f"{type(error).__name__}: {error}"}
        queue.rpush("done", json.dumps(done))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    work(Redis.from_url(sys.argv[1]))
