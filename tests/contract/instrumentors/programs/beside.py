"""A program with several instrumentors, in a process of its own.

A step is `tollspan`, `provider`, or the name of another instrumentor; then so many calls are made,
of every kind in turn. The processes are forked from one that has imported the SDKs, which takes
five seconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
from collections.abc import Mapping
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from opentelemetry import trace
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import KITS
from tests.contract.instrumentors.stage import Caller
from tests.contract.instrumentors.ways import Async, Sync, Way
from tollspan.api import CallDeniedError, install, uninstall

memory = InMemorySpanExporter()


async def plain(caller: Caller) -> None:
    """Ask for an answer."""
    await caller.ask()


async def stream(caller: Caller) -> None:
    """Ask for a stream, and drain it."""
    await caller.way.loop(await caller.stream())


def do(kit: Kit, step: str) -> None:
    """Do one step."""
    if step == "tollspan":
        install()
    elif step == "provider":
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(memory))
        trace.set_tracer_provider(provider)
    else:
        (other,) = [one for one in kit.others if one.name == step]
        getattr(import_module(other.module), other.kind)().instrument(skip_dep_check=True)


def call(kit: Kit, ways: list[Way], number: int, url: str) -> str:
    """Make one call, and return how it went: a denial is an outcome, anything else is a bug."""
    way = ways[number % 2]
    work = plain if number % 4 < 2 else stream
    before = get_current()

    async def scenario() -> None:
        client = kit.clients[way.is_async](api_key="key", max_retries=0, **kit.address(url))
        async with way.block(client):
            await work(Caller(kit, way, client))

    try:
        way.run(scenario())
    except CallDeniedError as denial:
        return type(denial).__name__
    assert get_current() == before, "a call left its context behind"
    return "ok"


def described(span: ReadableSpan) -> dict[str, Any]:
    """Return what tests look at in a span."""
    found = span.attributes or {}
    return {
        "scope": span.instrumentation_scope.name if span.instrumentation_scope else None,
        "is_error": not span.status.is_ok and not span.status.is_unset,
        "call_id": found.get("tollspan.call.id"),
    }


def run(kit: Kit, url: str, calls: int, steps: tuple[str, ...]) -> dict[str, Any]:
    """Do the steps, make the calls; return the calls' outcomes and the spans."""
    for step in steps:
        do(kit, step)
    with asyncio.Runner() as runner:
        ways: list[Way] = [Sync(), Async(runner)]
        outcomes = [call(kit, ways, number, url) for number in range(calls)]
    spans = [described(span) for span in memory.get_finished_spans()]
    uninstall()
    return {"outcomes": outcomes, "spans": spans}


def _main(
    sender: Connection, env: Mapping[str, str], name: str, url: str, calls: int, *steps: str
) -> None:
    os.environ.clear()
    os.environ.update(env)
    (kit,) = [one for one in KITS if one.name == name]
    sender.send(run(kit, url, calls, steps))


def run_apart(
    env: Mapping[str, str], kit: Kit, url: str, calls: int, *steps: str
) -> dict[str, Any]:
    """Do it in a process of its own, with an environment of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    given = (sender, dict(env), kit.name, url, calls, *steps)
    process = context.Process(target=_main, args=given)
    process.start()
    sender.close()
    try:
        report: dict[str, Any] = receiver.recv()
    finally:
        receiver.close()
        process.join()
    assert process.exitcode == 0
    return report
