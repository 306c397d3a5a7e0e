"""Sessions of people who look at the server's page: a key, exchanged for something that ends.

They are kept here, not signed, so that several servers know them, signing out ends them, and a key
that is revoked takes its sessions along at once.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import BigInteger, Column, Index, LargeBinary, String, Table, delete, insert, select

from .opening import Database
from .tables import KEYS, METADATA
from .tenants import ApiKey, api_key

_SECRET_BYTES: Final = 32
_NS_PER_SECOND: Final = 10**9

SESSIONS: Final = Table(
    "sessions",
    METADATA,
    Column("digest", LargeBinary, primary_key=True),
    Column("key_id", String(8), nullable=False),
    Column("expires_ns", BigInteger, nullable=False),
)
"""Who is signed in: the digest of what the browser has, the key that was shown, until when."""
Index("sessions_by_end", SESSIONS.c.expires_ns)


class Sessions:
    """The sessions of a central ledger.

    Args:
        database: Where they are kept.
        clock: Tells the time in nanoseconds since the epoch.
    """

    def __init__(self, database: Database, clock: Callable[[], int] = time.time_ns) -> None:
        self._database = database
        self._clock = clock

    def begin(self, key: ApiKey, *, seconds: int) -> str:
        """Begin a session of a key; return its secret, which is not stored.

        Args:
            key: A key that was found good.
            seconds: After which it ends by itself.
        """
        secret = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=").decode()
        now = self._clock()
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_ns <= now))
            connection.execute(
                insert(SESSIONS).values(
                    digest=_digest(secret),
                    key_id=key.id,
                    expires_ns=now + seconds * _NS_PER_SECOND,
                )
            )
        return secret

    def whose(self, secret: str) -> ApiKey | None:
        """Return the key of a session; None for none that goes on, or whose key was revoked."""
        query = (
            select(KEYS)
            .join(SESSIONS, SESSIONS.c.key_id == KEYS.c.id)
            .where(
                SESSIONS.c.digest == _digest(secret),
                SESSIONS.c.expires_ns > self._clock(),
                KEYS.c.revoked_ns.is_(None),
            )
        )
        with self._database.reading() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else api_key(row)

    def end(self, secret: str) -> None:
        """End a session, if it is one."""
        with self._database.writing() as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.digest == _digest(secret)))


def _digest(secret: str) -> bytes:
    """A secret has 256 random bits: one round of a fast hash is enough."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).digest()
