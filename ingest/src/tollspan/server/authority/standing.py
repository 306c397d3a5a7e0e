"""The authorities of the tenants as the server goes by them: opened when they are new."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from tollspan.budget import ListingAuthority
from tollspan.ledger import TenantAuthorities
from tollspan.ledger.central import AUTHORITY_OPENED, CentralLedger
from tollspan.server.complaints import Complaint
from tollspan.usage import LedgerError

_log = logging.getLogger(__name__)


class Authorities:
    """Says who holds a tenant's money.

    A tenant's authority is opened by itself once: when nobody ever opened it. One that is found
    closed later has lost what it knew, and an operator has to open it.

    Args:
        ledger: Whose tenants they are; it remembers whose authority was opened, in its audit log.
        authorities: Theirs.
    """

    def __init__(self, ledger: CentralLedger, authorities: TenantAuthorities) -> None:
        self._ledger = ledger
        self._authorities = authorities
        self._looked: set[str] = set()
        self._lock = threading.Lock()
        self._complaint = Complaint(_log, "a posting was refused")

    @property
    def place(self) -> str:
        """Where they are, without secrets."""
        return self._authorities.place

    def of(self, tenant: str) -> ListingAuthority:
        """Return a tenant's authority, opened if it is new.

        Raises:
            LedgerError: It can't answer.
        """
        authority = self._authorities.of(tenant)
        if tenant not in self._looked:
            with self._lock:
                if authority.epoch() is None and self._is_new(tenant):
                    self.open(tenant, actor="server")
                self._looked.add(tenant)
        return authority

    def is_lost(self, tenant: str) -> bool:
        """Say whether a tenant's authority is closed that was open before.

        Raises:
            LedgerError: It can't answer.
        """
        return self._authorities.of(tenant).epoch() is None and not self._is_new(tenant)

    def open(self, tenant: str, *, actor: str) -> str:
        """Open a tenant's authority in a new epoch; return its name.

        Raises:
            LedgerError: It can't be opened.
        """
        epoch = self._authorities.of(tenant).open_epoch()
        self._ledger.audit.note(tenant, actor, AUTHORITY_OPENED, epoch, place=self.place)
        return epoch

    def note_once(
        self, tenant: str, actor: str, action: str, subject: str, **details: object
    ) -> None:
        """Write into the audit log what was done here, unless it is there.

        Raises:
            LedgerUnavailableError: It is not written; what was done stays, and may be told again.
        """
        self._ledger.audit.note_once(tenant, actor, action, subject, **details)

    def noted(
        self, tenant: str, action: str, subjects: Sequence[str], *, since_unix_ns: int
    ) -> dict[str, dict[str, object]]:
        """Return what the audit log has of such changes since then: subject to details.

        Raises:
            LedgerUnavailableError: It can't be read.
        """
        return self._ledger.audit.details(tenant, action, subjects, since_unix_ns=since_unix_ns)

    def complain_of_credits(self, why: str) -> None:
        """Say in the log that somebody asked to have less counted who may not, once a minute."""
        self._complaint.make(LedgerError(why))

    def close(self) -> None:
        """Close all connections."""
        self._authorities.close()

    def _is_new(self, tenant: str) -> bool:
        return self._authorities.forgets or not self._ledger.audit.has(tenant, AUTHORITY_OPENED)
