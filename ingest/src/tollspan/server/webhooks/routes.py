"""`/v1/webhooks`: a tenant's admins say who is told of what, and see what was."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from tollspan.ledger.central import (
    CentralLedger,
    Delivery,
    DeliveryState,
    NoticeKind,
    Webhook,
    Webhooks,
)
from tollspan.server.principals import Principal, require
from tollspan.server.problems import ProblemError, documented
from tollspan.server.questions import read_cursor, write_cursor, wrong_cursor
from tollspan.server.settings import ServerSettings
from tollspan.usage import ConfigError, rfc3339

from .addresses import place_of

_LONGEST_URL: Final = 2_048
_MOST_AT_ONCE: Final = 500
_KEEP_SECONDS: Final = 86_400
_WEEK_SECONDS: Final = 7 * 86_400
_FAILURES: Final[dict[int | str, dict[str, Any]]] = documented(400, 401, 403, 404, 408, 413)
Admin = Annotated[Principal, Depends(require("admin"))]
WebhookId = Annotated[str, Path(pattern=r"^wh_[0-9a-f]{16}$")]
DeliveryId = Annotated[str, Field(pattern=r"^whd_[0-9a-f]{32}$")]
Wants = Annotated[list[NoticeKind], Field(min_length=1, max_length=8)]
Label = Annotated[str, Field(max_length=256)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewWebhook(_Said):
    """A target to be made."""

    url: str = Field(max_length=_LONGEST_URL, description="where, https://…")
    events: Wants = Field(description="of what it is told")
    label: Label = ""


class ChangedWebhook(_Said):
    """What is to be changed of a target; what is left out stays."""

    url: str | None = Field(None, max_length=_LONGEST_URL)
    events: Wants | None = None
    label: Label | None = None
    is_active: bool | None = None


class Rotation(_Said):
    """How long the secret before signs too."""

    keep_seconds: int = Field(default=_KEEP_SECONDS, ge=0, le=_WEEK_SECONDS)


class Replay(_Said):
    """What is to be sent again: these, or all that were given up."""

    deliveries: list[DeliveryId] | None = Field(None, max_length=_MOST_AT_ONCE)


class WebhookAnswer(BaseModel):
    """A target, without its secrets."""

    id: str
    url: str
    events: list[NoticeKind]
    label: str
    is_active: bool
    created_at: str
    failures: int = Field(description="attempts that failed since one succeeded")
    next_try_at: str | None = Field(description="not before then; null for at once")
    old_secret_until: str | None = Field(description="until when the secret before signs too")


class SecretAnswer(WebhookAnswer):
    """A target with its secret, which is shown this once."""

    secret: str


class WebhooksAnswer(BaseModel):
    """All targets of a tenant."""

    webhooks: list[WebhookAnswer]


class DeliveryAnswer(BaseModel):
    """Something that a target was told, or is to be told."""

    id: str
    type: NoticeKind
    state: DeliveryState
    created_at: str
    attempts: int
    status: int | None = Field(description="what the target answered last")
    problem: str = Field(description="why the last attempt failed; empty if it did not")
    done_at: str | None
    body: str = Field(description="as it is sent")


class DeliveriesAnswer(BaseModel):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryAnswer]
    next: str | None = Field(description="cursor of the next page")


class ReplayAnswer(BaseModel):
    """How many deliveries wait again."""

    replayed: int


def routes(ledger: CentralLedger, settings: ServerSettings) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
    _add_targets(router, ledger, settings)
    _add_one_target(router, ledger.webhooks)
    _add_deliveries(router, ledger)
    return router


def _add_targets(router: APIRouter, ledger: CentralLedger, settings: ServerSettings) -> None:
    targets = ledger.webhooks

    def check(url: str) -> None:
        place_of(url, may_be_private=settings.private_webhooks)

    @router.get("", responses=documented(400, 401, 403))
    def list_webhooks(who: Admin) -> WebhooksAnswer:
        """List the targets."""
        return WebhooksAnswer(webhooks=[_webhook(one) for one in targets.all(who.tenant)])

    @router.post("", status_code=201, responses=documented(400, 401, 403, 408, 413))
    def create_webhook(who: Admin, said: NewWebhook) -> SecretAnswer:
        """Make a target; its secret is shown this once."""
        check(said.url)
        try:
            made, secret = targets.create(
                who.tenant, said.url, said.events, actor=who.actor, label=said.label
            )
        except ConfigError as error:
            raise ProblemError(400, str(error)) from None
        return SecretAnswer(**_webhook(made).model_dump(), secret=secret)

    @router.patch("/{webhook_id}", responses=_FAILURES)
    def change_webhook(who: Admin, webhook_id: WebhookId, said: ChangedWebhook) -> WebhookAnswer:
        """Change a target; what waits for it is tried at once."""
        if said.url is not None:
            check(said.url)
        try:
            changed = targets.change(
                who.tenant, webhook_id, actor=who.actor, url=said.url, wants=said.events,
                label=said.label, is_active=said.is_active,
            )  # fmt: skip
        except ConfigError as error:
            raise ProblemError(400, str(error)) from None
        return _webhook(_found(changed))


def _add_one_target(router: APIRouter, targets: Webhooks) -> None:
    @router.get("/{webhook_id}", responses=documented(400, 401, 403, 404))
    def get_webhook(who: Admin, webhook_id: WebhookId) -> WebhookAnswer:
        """Show a target."""
        return _webhook(_found(targets.find(who.tenant, webhook_id)))

    @router.delete("/{webhook_id}", status_code=204, responses=documented(400, 401, 403, 404))
    def delete_webhook(who: Admin, webhook_id: WebhookId) -> None:
        """Delete a target, and what it was told."""
        if not targets.delete(who.tenant, webhook_id, actor=who.actor):
            raise _no_such()

    @router.post("/{webhook_id}/rotate", responses=_FAILURES)
    def rotate_secret(
        who: Admin, webhook_id: WebhookId, said: Rotation | None = None
    ) -> SecretAnswer:
        """Make a new secret, shown this once; the one before signs too for a while."""
        keep = _KEEP_SECONDS if said is None else said.keep_seconds
        rotated = targets.rotate(who.tenant, webhook_id, actor=who.actor, keep_seconds=keep)
        if rotated is None:
            raise _no_such()
        webhook, secret = rotated
        return SecretAnswer(**_webhook(webhook).model_dump(), secret=secret)


def _add_deliveries(router: APIRouter, ledger: CentralLedger) -> None:
    @router.get("/{webhook_id}/deliveries", responses=documented(400, 401, 403, 404))
    def list_deliveries(
        who: Admin,
        webhook_id: WebhookId,
        state: DeliveryState | None = None,
        cursor: Annotated[str | None, Query(max_length=512)] = None,
        limit: Annotated[int, Query(ge=1, le=_MOST_AT_ONCE)] = 100,
    ) -> DeliveriesAnswer:
        """Look at what a target was told or is to be told, newest first."""
        _found(ledger.webhooks.find(who.tenant, webhook_id))
        before = None if cursor is None else _number(cursor)
        page = ledger.deliveries.page(webhook_id, state=state, before=before, most=limit)
        following = write_cursor(str(page[-1].number)) if len(page) == limit else None
        return DeliveriesAnswer(deliveries=[_delivery(one) for one in page], next=following)

    @router.post("/{webhook_id}/replay", responses=_FAILURES)
    def replay(who: Admin, webhook_id: WebhookId, said: Replay | None = None) -> ReplayAnswer:
        """Send deliveries again, under their ids: those named, or all that were given up."""
        _found(ledger.webhooks.find(who.tenant, webhook_id))
        wanted = None if said is None else said.deliveries
        count = ledger.deliveries.replay(who.tenant, webhook_id, wanted, actor=who.actor)
        return ReplayAnswer(replayed=count)


def _number(cursor: str) -> int:
    text = read_cursor(cursor)
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise wrong_cursor()
    return int(text)


def _found(webhook: Webhook | None) -> Webhook:
    if webhook is None:
        raise _no_such()
    return webhook


def _no_such() -> ProblemError:
    return ProblemError(404, "there is no such webhook")


def _webhook(one: Webhook) -> WebhookAnswer:
    return WebhookAnswer(
        id=one.id,
        url=one.url,
        events=list(one.wants),
        label=one.label,
        is_active=one.is_active,
        created_at=rfc3339(one.created_unix_ns),
        failures=one.failures,
        next_try_at=_time(one.next_try_unix_ns or None),
        old_secret_until=_time(one.old_until_unix_ns),
    )


def _delivery(one: Delivery) -> DeliveryAnswer:
    return DeliveryAnswer(
        id=one.id,
        type=one.kind,
        state=one.state,
        created_at=rfc3339(one.created_unix_ns),
        attempts=one.attempts,
        status=one.status,
        problem=one.problem,
        done_at=_time(one.done_unix_ns),
        body=one.body.decode(),
    )


def _time(unix_ns: int | None) -> str | None:
    return None if unix_ns is None else rfc3339(unix_ns)
