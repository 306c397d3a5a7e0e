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
        hold_seconds: How long a call that asked over HTTP may take, before what it holds becomes
            unresolved.
        host, port: Where it listens.
        certificate, private_key: Files for TLS, in PEM; None behind a proxy that has it.
        oldest_seconds: Events that began longer ago are refused: `too_old`.
        ahead_seconds: Events that begin later than this from now are refused: `in_the_future`.
        keep_months: How many whole months of events are kept besides the one that runs; of what is
            older, sums of days. None for all.
        keep_audit_months: How many of the audit log are kept. None for all.
        most_events: In one batch.
        most_bytes: Of one request's body, as sent and as unpacked.
        most_rules_bytes: Of a rules' document.
        body_seconds: Within which a body has to come.
        head_seconds: Within which a request has to begin, and its head has to come.
        stalled_seconds: How long a client may read nothing of its answer.
        most_connections: Open at a time; from one address a quarter of them, but from proxies all.
        forwarded_allow_ips: Addresses of proxies whose `X-Forwarded-For` and `-Proto` are believed,
            parted by commas; `*` for all.
        requests_per_second: Of one key, on average; twice as many at once. 0 for no bound.
        strangers_per_second: Requests of one address without a good key, on average; ten times as
            many at once. 0 for no bound.
        most_requests: Under way at a time.
        most_of_tenant: Requests of one tenant that are worked on at a time; others wait.
        turn_seconds: How long they wait.
        most_buffered_bytes: Of the bodies of all requests that are under way.
        open_metrics: Anybody may ask for `/metrics`, without a key.
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
    hold_seconds: float = 600.0
    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    certificate: str | None = None
    private_key: str | None = None
    oldest_seconds: int = 35 * 86_400
    ahead_seconds: int = 300
    keep_months: int | None = 13
    keep_audit_months: int | None = None
    most_events: int = 1_000
    most_bytes: int = 5 << 20
    most_rules_bytes: int = 1 << 20
    body_seconds: float = 60.0
    head_seconds: float = 15.0
    stalled_seconds: float = 30.0
    most_connections: int = 2_000
    forwarded_allow_ips: str = "127.0.0.1,::1"
    requests_per_second: float = 1_000.0
    strangers_per_second: float = 20.0
    most_requests: int = 1_000
    most_of_tenant: int = 8
    turn_seconds: float = 10.0
    most_buffered_bytes: int = 256 << 20
    open_metrics: bool = False
    private_webhooks: bool = False
    webhook_threads: int = 4
    webhook_seconds: float = 10.0
    webhook_pause_seconds: float = 5.0
    webhook_kept_seconds: int = 30 * 86_400
