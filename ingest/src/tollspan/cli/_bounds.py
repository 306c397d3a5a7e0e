"""The bounds of `tollspan serve`: its options for them, and the settings that they make."""

from __future__ import annotations

import argparse
import ipaddress
from typing import Any

from . import _arguments
from ._parser import Parser

_SECONDS_PER_DAY = 86_400


def add_bounds(command: Parser) -> None:
    """Add the options."""
    command.add_argument(
        "--requests-per-second", type=_arguments.count, metavar="N",
        help="of one key, on average; 0 for no bound (default: 1,000)",
    )  # fmt: skip
    command.add_argument(
        "--strangers-per-second", type=_arguments.count, metavar="N",
        help="requests from one address without a good key; 0 for no bound (default: 20)",
    )  # fmt: skip
    command.add_argument(
        "--most-requests", type=_arguments.positive, metavar="N",
        help="under way at a time (default: 1,000)",
    )  # fmt: skip
    command.add_argument(
        "--most-connections", type=_arguments.positive, metavar="N",
        help="open at a time (default: 2,000)",
    )  # fmt: skip
    command.add_argument(
        "--forwarded-allow-ips", type=proxies, metavar="A,B",
        help="addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are "
        "believed, or * (default: 127.0.0.1,::1)",
    )  # fmt: skip
    command.add_argument(
        "--open-metrics", action="store_true",
        help="let anybody ask for /metrics, without a key",
    )  # fmt: skip
    command.add_argument(
        "--oldest-days", type=_arguments.positive, metavar="N",
        help="refuse events that began longer ago (default: 35)",
    )  # fmt: skip
    command.add_argument(
        "--ahead-seconds", type=_arguments.count, metavar="N",
        help="refuse events that begin later than this from now (default: 300)",
    )  # fmt: skip
    command.add_argument(
        "--lease-seconds", type=_arguments.positive, metavar="N",
        help="how long what a process was granted is its own, unless it asks again (default: 30)",
    )  # fmt: skip
    command.add_argument(
        "--hold-seconds", type=_arguments.positive, metavar="N",
        help="how long a call that asked over HTTP may take, before what it holds is unresolved "
        "(default: 600)",
    )  # fmt: skip
    command.add_argument(
        "--horizon-seconds", type=_arguments.positive, metavar="N",
        help="after how long what an ended lease leaves open counts as spent (default: 86400)",
    )  # fmt: skip


def bounds(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were named; those of the server hold for the others."""
    days: int | None = parsed.oldest_days
    said: dict[str, Any] = {
        "requests_per_second": parsed.requests_per_second,
        "strangers_per_second": parsed.strangers_per_second,
        "most_requests": parsed.most_requests,
        "most_connections": parsed.most_connections,
        "forwarded_allow_ips": parsed.forwarded_allow_ips,
        "open_metrics": parsed.open_metrics,
        "oldest_seconds": None if days is None else days * _SECONDS_PER_DAY,
        "ahead_seconds": parsed.ahead_seconds,
        "lease_life_seconds": parsed.lease_seconds,
        "hold_seconds": parsed.hold_seconds,
        "lease_horizon_seconds": parsed.horizon_seconds,
    }
    return {name: value for name, value in said.items() if value is not None}


def proxies(text: str) -> str:
    """Read addresses and networks between commas, or `*` for all."""
    words = ("*",) if text.strip() == "*" else _arguments.words(text)
    for word in words:
        try:
            if word != "*" or len(words) > 1:
                ipaddress.ip_network(word)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{word!r} is no address or network such as 10.0.0.7 or 10.0.0.0/8"
            ) from None
    return ",".join(words)
