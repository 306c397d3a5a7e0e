"""The rules' documents of tenants, with their history: stored as they were put, and never changed.

The newest of each tenant are kept; that there were others is in the audit log.
What is in a document is nobody's business here; `server.rules` reads it before it is put.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping, delete, insert, select

from tollspan.usage import ConfigError

from .audit import note
from .deliveries import put_down
from .notices import Notice, rules_changed
from .opening import Database
from .tables import RULES, TENANTS

MOST_VERSIONS: Final = 1_000
"""Of one tenant."""
MOST_VERSIONS_BYTES: Final = 64 << 20
"""Of one tenant's documents together."""
_HEAD: Final = (RULES.c.version, RULES.c.digest)
_LISTED: Final = tuple(column for column in RULES.c if column is not RULES.c.text)


class RulesHead(msgspec.Struct, frozen=True, kw_only=True):
    """Names the rules in force of a tenant.

    Attributes:
        version: Counts the tenant's documents, from 1.
        digest: The SHA-256 of the text, in hex digits: an ETag without its quotes.
    """

    version: int
    digest: str


class RulesVersion(RulesHead, frozen=True, kw_only=True):
    """A document as it is listed.

    Attributes:
        bytes: Length of the text in UTF-8.
        actor: Who put it, as in the audit log.
        put_unix_ns: When.
        rolled_back_to: The version of which this is the text once more; None where it is new.
    """

    bytes: int
    actor: str
    put_unix_ns: int
    rolled_back_to: int | None = None


class RulesDocument(RulesVersion, frozen=True, kw_only=True):
    """A document; `text` as it was put."""

    text: str


class RulesStore:
    """The rules of a central ledger's tenants.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock

    def head(self, tenant: str) -> RulesHead | None:
        """Name the rules in force, without reading them; None where there are none.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        with self._database.reading() as connection:
            return _head(connection, tenant)

    def document(self, tenant: str, version: int | None = None) -> RulesDocument | None:
        """Return the rules in force, or those of a version; None where there are none.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        with self._database.reading() as connection:
            return _document(connection, tenant, version)

    def history(
        self, tenant: str, *, before: int | None = None, most: int = 100
    ) -> list[RulesVersion]:
        """Return a tenant's versions, newest first, from before one of them.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        query = select(*_LISTED).where(RULES.c.tenant == tenant)
        if before is not None:
            query = query.where(RULES.c.version < before)
        query = query.order_by(RULES.c.version.desc()).limit(most)
        with self._database.reading() as connection:
            return [RulesVersion(**_fields(row)) for row in connection.execute(query).mappings()]

    def put(
        self,
        tenant: str,
        text: str,
        *,
        actor: str,
        is_expected: Callable[[RulesHead | None], bool] = lambda _: True,
        rolled_back_to: int | None = None,
    ) -> RulesDocument | None:
        """Put a document in force; return it, or None where others are in force than is expected.

        The text that is in force already makes no new version. Webhooks are told of another one,
        and versions for which there is no room any more are forgotten.

        Args:
            tenant: Whose rules they are.
            text: The document.
            actor: Who puts it.
            is_expected: Is asked of what is in force (None for nothing), while nobody changes it.
            rolled_back_to: The version of which it is the text.

        Raises:
            ConfigError: There is no such tenant.
            LedgerUnavailableError: Nothing was stored.
        """
        data = text.encode()
        digest = hashlib.sha256(data).hexdigest()
        with self._database.writing() as connection:
            _take_turn(connection, tenant)
            head = _head(connection, tenant)
            if not is_expected(head):
                return None
            if head is not None and head.digest == digest:
                return _document(connection, tenant, head.version)
            made = RulesDocument(
                version=1 if head is None else head.version + 1, digest=digest, bytes=len(data),
                actor=actor, put_unix_ns=self._clock(), rolled_back_to=rolled_back_to, text=text,
            )  # fmt: skip
            _store(connection, tenant, made)
            _forget_old(connection, tenant)
            put_down(
                connection, tenant, [_notice(made)], made.put_unix_ns,
                is_postgresql=self._database.is_postgresql,
            )  # fmt: skip
            return made


def _take_turn(connection: Connection, tenant: str) -> None:
    """Wait until nobody else changes this tenant's rules; on SQLite whoever writes is alone."""
    query = select(TENANTS.c.name).where(TENANTS.c.name == tenant).with_for_update()
    if connection.scalar(query) is None:
        raise ConfigError(f"there is no tenant {tenant[:80]!r}")


def _store(connection: Connection, tenant: str, made: RulesDocument) -> None:
    connection.execute(
        insert(RULES).values(
            tenant=tenant, version=made.version, digest=made.digest, text=made.text,
            bytes=made.bytes, actor=made.actor, put_ns=made.put_unix_ns,
            rolled_back_to=made.rolled_back_to,
        )
    )  # fmt: skip
    details: dict[str, object] = {"digest": made.digest, "bytes": made.bytes}
    if made.rolled_back_to is not None:
        details["rolled_back_to"] = made.rolled_back_to
    note(
        connection, tenant, made.put_unix_ns, made.actor, "rules.changed",
        str(made.version), **details,
    )  # fmt: skip


def _forget_old(connection: Connection, tenant: str) -> None:
    """Forget the oldest versions beyond the bounds; the one in force stays whatever its length."""
    sizes = select(RULES.c.version, RULES.c.bytes).where(RULES.c.tenant == tenant)
    left = MOST_VERSIONS_BYTES
    for number, (version, size) in enumerate(
        connection.execute(sizes.order_by(RULES.c.version.desc()))
    ):
        left -= size
        if number == MOST_VERSIONS or (number and left < 0):
            old = RULES.c.version <= version
            connection.execute(delete(RULES).where(RULES.c.tenant == tenant, old))
            return


def _notice(made: RulesDocument) -> Notice:
    return rules_changed(
        made.version, f'"{made.digest}"', actor=made.actor, at_unix_ns=made.put_unix_ns,
        rolled_back_to=made.rolled_back_to,
    )  # fmt: skip


def _head(connection: Connection, tenant: str) -> RulesHead | None:
    query = select(*_HEAD).where(RULES.c.tenant == tenant)
    row = connection.execute(query.order_by(RULES.c.version.desc()).limit(1)).mappings().first()
    return None if row is None else RulesHead(version=row["version"], digest=row["digest"])


def _document(connection: Connection, tenant: str, version: int | None) -> RulesDocument | None:
    query = select(RULES).where(RULES.c.tenant == tenant)
    if version is not None:
        query = query.where(RULES.c.version == version)
    row = connection.execute(query.order_by(RULES.c.version.desc()).limit(1)).mappings().first()
    return None if row is None else RulesDocument(text=row["text"], **_fields(row))


def _fields(row: RowMapping) -> dict[str, Any]:
    """Return what a listed version says, by the fields' names."""
    return {
        "version": row["version"],
        "digest": row["digest"],
        "bytes": row["bytes"],
        "actor": row["actor"],
        "put_unix_ns": row["put_ns"],
        "rolled_back_to": row["rolled_back_to"],
    }
