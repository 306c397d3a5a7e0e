"""The settings of an ingest server, with the limits within which it takes what clients send."""

from __future__ import annotations

from typing import Final

import msgspec

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 4790
NS_PER_SECOND: Final = 10**9


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a server is told when it starts.

    Attributes:
        database: `sqlite:PATH` or `postgresql://…`.
        authority: Who holds the tenants' money: `memory:`, `sqlite:PATH`, `redis://…` or
            `postgresql://…`; None for beside the database.
        lease_life_seconds: How long leases live, unless they are renewed.
        lease_horizon_seconds: When what an ended lease leaves open is taken for spent.
        host, port: Where it listens.
        certificate, private_key: Files for TLS, in PEM; None behind a proxy that has it.
        oldest_seconds: Events that began longer ago are refused: `too_old`.
        ahead_seconds: Events that begin later than this from now are refused: `in_the_future`.
        most_events: In one batch.
        most_bytes: Of one request's body, as sent and as unpacked.
        most_rules_bytes: Of a rules' document.
        body_seconds: Within which a body has to come.
        private_webhooks: Webhooks may go to addresses of private networks, and without TLS.
        webhook_threads: How many targets are sent to at once.
        webhook_seconds: Within which a target has to answer.
        webhook_pause_seconds: How long to wait after the first failure; later ones double it.
        webhook_kept_seconds: How long what was delivered or given up is kept.
    """

    database: str
    authority: str | None = None
    lease_life_seconds: float = 30.0
    lease_horizon_seconds: float = 86_400.0
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    certificate: str | None = None
    private_key: str | None = None
    oldest_seconds: int = 35 * 86_400
    ahead_seconds: int = 300
    most_events: int = 1_000
    most_bytes: int = 5 << 20
    most_rules_bytes: int = 1 << 20
    body_seconds: float = 60.0
    private_webhooks: bool = False
    webhook_threads: int = 4
    webhook_seconds: float = 10.0
    webhook_pause_seconds: float = 5.0
    webhook_kept_seconds: int = 30 * 86_400
