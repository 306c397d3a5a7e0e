"""What holds for all tests."""

from __future__ import annotations

import signal

from tests.services import postgres_server, postgres_url, redis_server, redis_url

__all__ = ["postgres_server", "postgres_url", "redis_server", "redis_url"]


def pytest_configure() -> None:
    """Hear of SIGINT, which a shell has jobs in the background ignore, and so their children."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
