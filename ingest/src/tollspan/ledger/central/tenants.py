"""Tenants and their API keys: made, found, listed, revoked. A key itself is never stored."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Collection
from typing import Final, Literal, cast, get_args

import msgspec
from sqlalchemy import Connection, RowMapping, insert, select, update

from tollspan.usage import ConfigError

from .audit import EVERY_TENANT, note
from .opening import Database
from .tables import KEYS, TENANTS

Scope = Literal["ingest", "read", "admin"]
"""What a key may: send events and ask for budgets; look; change."""
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_KEY: Final = re.compile(r"tsp_([0-9a-f]{8})_[A-Za-z0-9_-]{43}")
_NOBODY: Final = bytes(32)
_LONGEST_LABEL: Final = 256


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """Whose money it is."""

    name: str
    created_unix_ns: int


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed: what it is for, never what it is.

    Attributes:
        id: Its public part, 8 hex digits.
        tenant: Whose it is; `*` for one that looks after all.
        scopes: What it may.
        label: What its maker called it.
        created_unix_ns, revoked_unix_ns: When; None while it is good.
    """

    id: str
    tenant: str
    scopes: tuple[Scope, ...]
    label: str = ""
    created_unix_ns: int
    revoked_unix_ns: int | None = None


class Tenants:
    """The tenants of a central ledger, and their keys.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock

    def create(self, name: str, *, actor: str) -> Tenant:
        """Make a tenant.

        Raises:
            ConfigError: The name is none, or taken.
        """
        if not _TENANT.fullmatch(name):
            raise ConfigError(
                f"the tenant is {name[:80]!r}; expected 1 to 64 of the letters a to z, digits, "
                "`_`, `-` and `.`, the first one a letter or digit"
            )
        with self._database.writing() as connection:
            if _is_tenant(connection, name):
                raise ConfigError(f"there is a tenant {name!r} already")
            tenant = Tenant(name=name, created_unix_ns=self._clock())
            connection.execute(insert(TENANTS).values(name=name, created_ns=tenant.created_unix_ns))
            note(connection, name, tenant.created_unix_ns, actor, "tenant.created", name)
        return tenant

    def all(self) -> list[Tenant]:
        """Return all tenants by name."""
        with self._database.reading() as connection:
            rows = connection.execute(select(TENANTS).order_by(TENANTS.c.name)).mappings()
            return [Tenant(name=row["name"], created_unix_ns=row["created_ns"]) for row in rows]

    def create_key(
        self, tenant: str, scopes: Collection[Scope], *, actor: str, label: str = ""
    ) -> tuple[ApiKey, str]:
        """Make a key; return it with its secret, which nobody can see again.

        Raises:
            ConfigError: There is no such tenant, or no such scope.
        """
        wanted: tuple[Scope, ...] = tuple(scope for scope in SCOPES if scope in scopes)
        if not wanted or len(wanted) != len(set(scopes)):
            raise ConfigError(f"scopes are {', '.join(scopes) or 'none'}; expected some of "
                              f"{', '.join(SCOPES)}")  # fmt: skip
        if len(label) > _LONGEST_LABEL or not label.isprintable():
            raise ConfigError(f"a label has up to {_LONGEST_LABEL} printable characters")
        with self._database.writing() as connection:
            if tenant != EVERY_TENANT and not _is_tenant(connection, tenant):
                raise ConfigError(
                    f"there is no tenant {tenant[:80]!r}: `tollspan tenants create` makes one"
                )
            key = ApiKey(
                id=_free_id(connection), tenant=tenant, scopes=wanted, label=label,
                created_unix_ns=self._clock(),
            )  # fmt: skip
            secret = f"tsp_{key.id}_{_random()}"
            connection.execute(
                insert(KEYS).values(
                    id=key.id, tenant=tenant, scopes=" ".join(wanted), digest=_digest(secret),
                    label=label, created_ns=key.created_unix_ns,
                )
            )  # fmt: skip
            note(
                connection, tenant, key.created_unix_ns, actor, "key.created", key.id,
                scopes=list(wanted), label=label,
            )  # fmt: skip
        return key, secret

    def keys(self, tenant: str | None = None) -> list[ApiKey]:
        """Return the keys of a tenant, or all, by age."""
        query = select(KEYS).order_by(KEYS.c.created_ns, KEYS.c.id)
        if tenant is not None:
            query = query.where(KEYS.c.tenant == tenant)
        with self._database.reading() as connection:
            return [api_key(row) for row in connection.execute(query).mappings()]

    def revoke(self, key_id: str, *, actor: str, tenant: str | None = None) -> ApiKey | None:
        """End a key; return it, or None where the tenant (anybody, if None) has none such."""
        now = self._clock()
        with self._database.writing() as connection:
            row = connection.execute(select(KEYS).where(KEYS.c.id == key_id)).mappings().first()
            if row is None or tenant not in (None, row["tenant"]):
                return None
            if row["revoked_ns"] is None:
                connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(revoked_ns=now))
                note(connection, row["tenant"], now, actor, "key.revoked", key_id)
                return msgspec.structs.replace(api_key(row), revoked_unix_ns=now)
            return api_key(row)

    def whose(self, secret: str) -> ApiKey | None:
        """Return the key that this is the secret of; None for none, or one that was revoked.

        Takes as long for a wrong secret as for a right one.
        """
        found = _KEY.fullmatch(secret)
        row: RowMapping | None = None
        if found is not None:
            with self._database.reading() as connection:
                query = select(KEYS).where(KEYS.c.id == found[1])
                row = connection.execute(query).mappings().first()
        stored = _NOBODY if row is None else bytes(row["digest"])
        is_right = hmac.compare_digest(_digest(secret), stored)
        if row is None or not is_right or row["revoked_ns"] is not None:
            return None
        return api_key(row)


def _is_tenant(connection: Connection, name: str) -> bool:
    return connection.scalar(select(TENANTS.c.name).where(TENANTS.c.name == name)) is not None


def _free_id(connection: Connection) -> str:
    while True:
        key_id = secrets.token_hex(4)
        if connection.scalar(select(KEYS.c.id).where(KEYS.c.id == key_id)) is None:
            return key_id


def _random() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()


def _digest(secret: str) -> bytes:
    """A secret has 256 random bits: one round of a fast hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()


def api_key(row: RowMapping) -> ApiKey:
    """Read a row of `KEYS`."""
    return ApiKey(
        id=row["id"],
        tenant=row["tenant"],
        scopes=cast("tuple[Scope, ...]", tuple(row["scopes"].split())),
        label=row["label"],
        created_unix_ns=row["created_ns"],
        revoked_unix_ns=row["revoked_ns"],
    )
