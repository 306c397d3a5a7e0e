"""A fake provider as a program, whichever it is.

The first line of its output is the base URL. It serves until SIGTERM, SIGINT, or (with
`--until-eof`) the end of its standard input, so that it ends with the process that started it.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Sequence
from typing import cast

from tests.fakes.anthropic_fake import FakeAnthropic
from tests.fakes.books import PriceTable
from tests.fakes.openai_fake import FakeOpenAI
from tests.fakes.replies import Reply
from tests.fakes.tokens import Tokenizer


def serve(
    kind: type[FakeAnthropic | FakeOpenAI],
    prices: PriceTable,
    arguments: Sequence[str] | None = None,
) -> int:
    """Serve until told to stop; return the exit code."""
    options = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.until_eof:
        threading.Thread(target=_wait_for_eof, args=(stop,), daemon=True).start()
    prices = dict(prices) | dict(cast("list[tuple[str, tuple[int, ...]]]", options.price))
    tokenizer = cast("Tokenizer", options.tokenizer)
    with kind(
        _default_reply(options),
        prices=prices,
        tokenizer=tokenizer,
        port=options.port,
        keep_requests=options.keep_requests,
    ) as fake:
        print(fake.base_url, flush=True)
        stop.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--reply", type=json.loads, default={}, help="JSON of the default reply")
    parser.add_argument("--text")
    parser.add_argument("--output-tokens", type=int)
    parser.add_argument("--latency-seconds", type=float)
    parser.add_argument("--chunk-delay-seconds", type=float)
    parser.add_argument("--tokenizer", choices=("bytes4", "o200k"), default="bytes4")
    parser.add_argument("--keep-requests", type=int, default=1000)
    parser.add_argument("--until-eof", action="store_true")
    parser.add_argument(
        "--price",
        type=_price,
        action="append",
        default=[],
        metavar="MODEL=INPUT,CACHED,OUTPUT[,WRITE[,WRITE_1H]]",
        help="pico-USD per token; adds to the built-in table or replaces a line of it",
    )
    return parser


def _default_reply(options: argparse.Namespace) -> Reply:
    names = ("text", "output_tokens", "latency_seconds", "chunk_delay_seconds")
    flags = {name: value for name in names if (value := getattr(options, name)) is not None}
    return Reply().with_json({**options.reply, **flags})


def _price(text: str) -> tuple[str, tuple[int, ...]]:
    model, _, numbers = text.partition("=")
    return model, tuple(map(int, numbers.split(",")))


def _wait_for_eof(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()
