"""Puts the ingest server together: its routes over one central ledger, and its own description."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import Any, Protocol

from fastapi import FastAPI, Response
from fastapi.openapi.utils import get_openapi
from starlette.concurrency import run_in_threadpool

from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import CentralLedger
from tollspan.pricing import PriceBook

from . import auditing, authority, calls, charging, events, metrics, otlp, page, reports, webhooks
from .gates import TenantGates
from .housekeeping import Housekeeper
from .metrics import ServerMetrics, ServerState, Watch
from .pressure import ALIVE, Door, DoorFigures
from .principals import Authenticator
from .problems import answer_problems, refused_at_the_door
from .receiving import Receiver
from .rules import RulesInForce
from .rules import routes as rules_routes
from .schemas import described
from .settings import ServerSettings
from .tally import Tally
from .webhooks import WebhookSender

_UNKNOWN_TO_US = "422"


def create_app(
    ledger: CentralLedger,
    settings: ServerSettings,
    authorities: TenantAuthorities,
    housekeeper: Housekeeper | None = None,
    book: PriceBook | None = None,
) -> FastAPI:
    """Return the server as an ASGI application.

    Args:
        ledger: The books; whoever made them closes them.
        settings: What it takes.
        authorities: Who holds the tenants' money; whoever made them closes them.
        housekeeper: Of whom `/readyz` tells; None where none works here.
        book: By which calls are priced; None for the prices that ship with tollspan.
    """
    sender = WebhookSender(ledger, settings)
    in_force = RulesInForce(ledger.rules)
    holders = authority.Authorities(ledger, authorities)
    exceeding = authority.Exceeding(holders, in_force, ledger.spent_accounts)
    figures = ServerMetrics()
    tally = Tally(ledger, figures)
    book = book or PriceBook.load()
    gates = TenantGates(
        holders, in_force, book, hold_seconds=settings.hold_seconds,
        store=tally.storing(ledger.events.store),
    )  # fmt: skip
    assessor, charger, filler = charging.charges(ledger, holders, gates, exceeding)
    receiver = Receiver(ledger, settings, tally, assessor=assessor)
    desk, keeper = calls.call_desk(ledger, holders, gates, settings, book, tally)

    app = _new_app(_running(tally, sender, keeper, charger))
    door = DoorFigures()
    app.state.authenticator = authenticator = Authenticator(ledger.tenants)
    app.add_middleware(
        Door, authenticator=authenticator, settings=settings, figures=door,
        refusals={otlp.PATH: otlp.refusal},
    )  # fmt: skip
    app.add_middleware(Watch, metrics=figures)
    answer_problems(app)
    app.state.rules = in_force
    app.include_router(events.routes(ledger, receiver, settings, in_force, exceeding))
    app.include_router(rules_routes(ledger, in_force, settings))
    app.include_router(reports.routes(ledger, book))
    app.include_router(otlp.routes(ledger, settings, tally, assessor, book))
    app.include_router(webhooks.routes(ledger, settings))
    app.include_router(auditing.routes(ledger))
    app.include_router(page.routes(ledger, tally.flush, holders, in_force, book=book))
    app.include_router(authority.routes(holders, settings, filler.fill))
    app.include_router(authority.budget_routes(holders, in_force))
    app.include_router(desk)
    _add_health(app, ledger, housekeeper)
    app.include_router(metrics.routes(figures, is_open=settings.open_metrics))
    _tell_figures(app, figures, ledger)
    tidied = _never if housekeeper is None else housekeeper.tidied
    figures.registry.register(
        ServerState(door, ledger.deliveries.backlog, sender.figures.attempts.copy, tidied)
    )
    return app


class _Beside(Protocol):
    """A thread that runs while the server does."""

    def start(self) -> None: ...

    def close(self) -> None: ...


def _running(*beside: _Beside) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return what starts threads with the server, and ends them with it, the last one first."""

    @asynccontextmanager
    async def running(_: FastAPI) -> AsyncGenerator[None]:
        for one in beside:
            one.start()
        yield
        for one in reversed(beside):
            await run_in_threadpool(one.close)

    return running


def _new_app(running: Callable[[FastAPI], AbstractAsyncContextManager[None]]) -> FastAPI:
    return _Described(
        lifespan=running,
        title="tollspan",
        version=version("tollspan"),
        summary="Hard budgets and exact prices for every LLM and tool call.",
        openapi_url="/openapi.json",
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
    )


def _never() -> int:
    return 0


def _tell_figures(app: FastAPI, figures: ServerMetrics, ledger: CentralLedger) -> None:
    figures.say(version=app.version, database="postgresql" if "://" in ledger.name else "sqlite")
    ledger.watch(figures.asked)


class _Described(FastAPI):
    """An app that describes itself in OpenAPI 3.1, without answers that it never gives."""

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        if self.openapi_schema is None:
            self.openapi_schema = _description(self)
        return self.openapi_schema


def _add_health(app: FastAPI, ledger: CentralLedger, housekeeper: Housekeeper | None) -> None:
    @app.get(ALIVE, tags=["health"])
    def healthz() -> dict[str, str]:
        """Say that the server runs."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    def readyz(response: Response) -> dict[str, str]:
        """Say that the server can store what it is sent, and how its housekeeping does."""
        response.headers["Cache-Control"] = "no-store"
        ledger.check()
        return (
            {"status": "ok"}
            if housekeeper is None
            else {"status": "ok", "housekeeping": housekeeper.state()}
        )


def _description(app: FastAPI) -> dict[str, Any]:
    schema = get_openapi(
        title=app.title, version=app.version, summary=app.summary, routes=app.routes
    )
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    components.update(described((*authority.DESCRIBED, *calls.DESCRIBED)))
    for name in ("HTTPValidationError", "ValidationError"):  # what is invalid is a `Problem`
        components.pop(name, None)
    anywhere = refused_at_the_door()
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            operation["responses"].pop(_UNKNOWN_TO_US, None)
            if path != ALIVE:
                operation["responses"] = {**anywhere, **operation["responses"]}
    return schema
