"""Webhooks of tenants: where something is told, what, and signed with which secrets."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final, cast
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import Connection, RowMapping, delete, func, insert, select, update

from tollspan.usage import ConfigError

from .audit import note
from .notices import NOTICE_KINDS, NoticeKind
from .opening import Database
from .webhook_tables import DELIVERIES, WEBHOOKS

MOST_WEBHOOKS: Final = 20
"""Of one tenant."""
_NS: Final = 10**9
_LONGEST_LABEL: Final = 256


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A target, without its secrets.

    Attributes:
        id: `wh_` and 16 hex digits.
        tenant: Of whose events it is told.
        url: Where.
        wants: Of what.
        label: What its maker called it.
        is_active: It is told; else nothing new is put down for it, and what waits stays.
        created_unix_ns: When it was made.
        old_until_unix_ns: Until when the secret before also signs; None without one.
        failures: How many attempts failed since one succeeded.
        next_try_unix_ns: Not before then; 0 for at once.
    """

    id: str
    tenant: str
    url: str
    wants: tuple[NoticeKind, ...]
    label: str = ""
    is_active: bool = True
    created_unix_ns: int
    old_until_unix_ns: int | None = None
    failures: int = 0
    next_try_unix_ns: int = 0


class Webhooks:
    """The targets of a central ledger.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock

    def create(
        self, tenant: str, url: str, wants: Collection[NoticeKind], *, actor: str, label: str = ""
    ) -> tuple[Webhook, str]:
        """Make a target; return it with its secret, which is not shown again.

        Raises:
            ConfigError: It wants nothing that there is, or the tenant has too many.
        """
        now = self._clock()
        made = Webhook(
            id=f"wh_{secrets.token_hex(8)}", tenant=tenant, url=url, wants=_checked(wants),
            label=_label(label), created_unix_ns=now,
        )  # fmt: skip
        secret = _new_secret()
        with self._database.writing() as connection:
            count = select(func.count()).where(WEBHOOKS.c.tenant == tenant)
            if (connection.scalar(count) or 0) >= MOST_WEBHOOKS:
                raise ConfigError(f"the tenant has {MOST_WEBHOOKS} webhooks already")
            connection.execute(
                insert(WEBHOOKS).values(
                    id=made.id, tenant=tenant, url=url, wants=" ".join(made.wants), label=label,
                    secret=secret, is_active=1, created_ns=now, last_number=0, failures=0,
                    next_try_ns=0, claimed_until_ns=0,
                )
            )  # fmt: skip
            note(connection, tenant, now, actor, "webhook.created", made.id,
                 where=_place(url), wants=made.wants)  # fmt: skip
        return made, secret

    def all(self, tenant: str | None = None) -> list[Webhook]:
        """Return a tenant's targets, or all, by age."""
        query = select(WEBHOOKS).order_by(WEBHOOKS.c.created_ns, WEBHOOKS.c.id)
        if tenant is not None:
            query = query.where(WEBHOOKS.c.tenant == tenant)
        with self._database.reading() as connection:
            return [_webhook(row) for row in connection.execute(query).mappings()]

    def find(self, tenant: str, webhook_id: str) -> Webhook | None:
        """Return a target; None where the tenant has none such."""
        with self._database.reading() as connection:
            return _found(connection, tenant, webhook_id)

    def change(
        self,
        tenant: str,
        webhook_id: str,
        *,
        actor: str,
        url: str | None = None,
        wants: Collection[NoticeKind] | None = None,
        label: str | None = None,
        is_active: bool | None = None,
    ) -> Webhook | None:
        """Change what is given of a target, and try it at once; None where there is none such.

        Raises:
            ConfigError: It would want nothing that there is.
        """
        said: dict[str, object] = {
            "url": url,
            "wants": None if wants is None else " ".join(_checked(wants)),
            "label": None if label is None else _label(label),
            "is_active": None if is_active is None else int(is_active),
        }
        changes = {name: value for name, value in said.items() if value is not None}
        with self._database.writing() as connection:
            done = connection.execute(
                update(WEBHOOKS)
                .where(WEBHOOKS.c.id == webhook_id, WEBHOOKS.c.tenant == tenant)
                .values(**changes, failures=0, next_try_ns=0)
            )
            if done.rowcount:
                if url is not None:
                    changes["where"] = _place(str(changes.pop("url")))
                note(connection, tenant, self._clock(), actor, "webhook.changed", webhook_id,
                     **changes)  # fmt: skip
            return _found(connection, tenant, webhook_id)

    def delete(self, tenant: str, webhook_id: str, *, actor: str) -> bool:
        """Delete a target with all that it was told or not; say whether there was one."""
        with self._database.writing() as connection:
            done = connection.execute(
                delete(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id, WEBHOOKS.c.tenant == tenant)
            )
            if not done.rowcount:
                return False
            connection.execute(delete(DELIVERIES).where(DELIVERIES.c.webhook == webhook_id))
            note(connection, tenant, self._clock(), actor, "webhook.deleted", webhook_id)
            return True

    def rotate(
        self, tenant: str, webhook_id: str, *, actor: str, keep_seconds: int
    ) -> tuple[Webhook, str] | None:
        """Give a target a new secret; the one before signs too for so long.

        Returns:
            The target and the secret, which is not shown again; None where there is none such.
        """
        now = self._clock()
        secret = _new_secret()
        with self._database.writing() as connection:
            done = connection.execute(
                update(WEBHOOKS)
                .where(WEBHOOKS.c.id == webhook_id, WEBHOOKS.c.tenant == tenant)
                .values(
                    old_secret=WEBHOOKS.c.secret, old_until_ns=now + keep_seconds * _NS,
                    secret=secret,
                )
            )  # fmt: skip
            found = _found(connection, tenant, webhook_id)
            if not done.rowcount or found is None:
                return None
            note(connection, tenant, now, actor, "webhook.rotated", webhook_id,
                 keep_seconds=keep_seconds)  # fmt: skip
            return found, secret


def _checked(wants: Collection[NoticeKind]) -> tuple[NoticeKind, ...]:
    known: tuple[NoticeKind, ...] = tuple(kind for kind in NOTICE_KINDS if kind in wants)
    if not known or len(known) != len(set(wants)):
        raise ConfigError(f"a webhook wants {', '.join(wants) or 'nothing'}; expected some of "
                          f"{', '.join(NOTICE_KINDS)}")  # fmt: skip
    return known


def _label(label: str) -> str:
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        raise ConfigError(f"a label has up to {_LONGEST_LABEL} printable characters")
    return label


def _place(url: str) -> str:
    """Return an address without its path, which may be all that protects the target."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _new_secret() -> str:
    return f"whsec_{base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b'=').decode()}"


def _found(connection: Connection, tenant: str, webhook_id: str) -> Webhook | None:
    query = select(WEBHOOKS).where(WEBHOOKS.c.id == webhook_id, WEBHOOKS.c.tenant == tenant)
    row = connection.execute(query).mappings().first()
    return None if row is None else _webhook(row)


def _webhook(row: RowMapping) -> Webhook:
    return Webhook(
        id=row["id"],
        tenant=row["tenant"],
        url=row["url"],
        wants=cast("tuple[NoticeKind, ...]", tuple(row["wants"].split())),
        label=row["label"],
        is_active=bool(row["is_active"]),
        created_unix_ns=row["created_ns"],
        old_until_unix_ns=row["old_until_ns"],
        failures=row["failures"],
        next_try_unix_ns=row["next_try_ns"],
    )
