"""An ingest server as tests run it: real, over real books, on loopback, in a thread."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import uvicorn

from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import CentralLedger, Scope
from tollspan.server import ServerSettings, authorities_of, configured

START_SECONDS = 10.0
ALL_SCOPES: tuple[Scope, ...] = ("ingest", "read", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The type of the problem that it tells."""
        return str(self.json["error"]["type"])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that listens.

    Attributes:
        url: Where, without a slash at its end.
        ledger: Its books.
        key: The secret of a key of the tenant `acme` that may everything.
    """

    url: str
    ledger: CentralLedger
    key: str

    def make_key(self, tenant: str, *scopes: Scope) -> str:
        """Make a key of a tenant, and the tenant too if it is new; return the secret."""
        if tenant != "*" and tenant not in [one.name for one in self.ledger.tenants.all()]:
            self.ledger.tenants.create(tenant, actor="test")
        return self.ledger.tenants.create_key(tenant, scopes or ALL_SCOPES, actor="test")[1]

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: object = None,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request with a key, its own by default; `body` as JSON, `data` as it is."""
        said = dict(headers or {})
        secret = self.key if key is None else key
        if secret:
            said.setdefault("Authorization", f"Bearer {secret}")
        if body is not None:
            data = json.dumps(body).encode()
            said.setdefault("Content-Type", "application/json")
        answer = requests.request(
            method, self.url + path, data=data, headers=said, timeout=30, allow_redirects=False
        )
        return Answer(status=answer.status_code, headers=answer.headers, body=answer.content)


@contextlib.contextmanager
def running_server(
    where: str, *, authorities: TenantAuthorities | None = None, **settings: Any
) -> Iterator[RunningServer]:
    """Run a server over a database until the block ends; with authorities of its own, or these."""
    ledger = CentralLedger(where)
    said = ServerSettings(database=where, port=0, **settings)
    authorities = authorities or authorities_of(said)
    server = uvicorn.Server(configured(ledger, said, authorities))
    thread = threading.Thread(target=server.run, name="ingest-server", daemon=True)
    thread.start()
    try:
        made = RunningServer(url=_address(server), ledger=ledger, key="")
        yield RunningServer(url=made.url, ledger=ledger, key=made.make_key("acme"))
    finally:
        server.should_exit = True
        thread.join(START_SECONDS)
        authorities.close()
        ledger.close()
    assert not thread.is_alive(), "the server does not end"


def _address(server: uvicorn.Server) -> str:
    give_up_at = time.monotonic() + START_SECONDS
    while not server.started:
        assert time.monotonic() < give_up_at, "the server does not start"
        time.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    return f"http://{host}:{port}"
