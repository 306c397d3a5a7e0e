"""The accounts in force here: the one way in which the command line opens who has them.

Where many hosts share an authority, that has them; else this host's ledger. Events are in the
ledger either way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from typing import Final, Protocol

import msgspec

from tollspan.budget import OWN_AUTHORITIES, Account, Balance, Touch, lowers
from tollspan.exporter import HttpAuthority, SettlingBooks, authority_at
from tollspan.launch import Settings, settings_in_force
from tollspan.ledger import (
    LEDGER_FILE,
    POSTING_REFUSED,
    POSTINGS_TOLD,
    LedgerReader,
    OpenHold,
    ServedAuthority,
    Sighting,
    SQLiteLedger,
    name_of,
)
from tollspan.usage import Adjustment, ConfigError, LedgerError

PATIENT_SECONDS: Final = 5.0
"""How long a command waits at least for who has the accounts."""
_MOST_NAMED: Final = 5


class Accounts(Protocol):
    """Who has the accounts. Every method raises `LedgerError` where it can't be reached."""

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order."""
        ...

    def touch(self, touch: Touch) -> str:
        """Name the period of an idle window that an owner is in; it is only looked at."""
        ...

    def sweep(self) -> None:
        """Turn what dead processes, or leases that are over, hold into unresolved."""
        ...

    def unresolved(self) -> tuple[OpenHold, ...]:
        """Return what dead processes, or ended leases, leave open."""
        ...

    def store(self, adjustment: Adjustment) -> None:
        """Store an operator's posting, in force when it returns."""
        ...


class HostAccounts:
    """The accounts of this host alone, in its ledger.

    Args:
        settings: Where it is.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._path = settings.ledger_home / LEDGER_FILE
        self._reader = LedgerReader(self._path)

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand; nothing is counted before there is a ledger."""
        if not self._path.exists():
            return tuple([Balance(account=account) for account in accounts])
        return self._reader.balances_at(accounts)

    def touch(self, touch: Touch) -> str:
        """Name the period that an owner is in; no file, no period."""
        return self._reader.touch(touch) if self._path.exists() else touch.account.period

    def unresolved(self) -> tuple[OpenHold, ...]:
        """Return what dead processes leave open."""
        return tuple([one for one in self._reader.open_holds() if one.is_unresolved])

    def sweep(self) -> None:
        """Turn what dead processes held into unresolved, unless the file can only be read.

        Raises:
            LedgerError: There is no ledger, and none is made by looking.
        """
        self._reader.highest_number()  # says so
        with self._ledger() as ledger, contextlib.suppress(LedgerError):
            ledger.job_horizon_seconds = self._settings.job_horizon_seconds
            ledger.sweep()

    def store(self, adjustment: Adjustment) -> None:
        """Store an operator's posting."""
        if self._settings.authority == "memory:":
            raise ConfigError(
                "the authority here is memory:, so every process has accounts of its own, which "
                "nobody can adjust: set TOLLSPAN_AUTHORITY"
            )
        with self._ledger() as ledger:
            ledger.adjust(adjustment)

    def _ledger(self) -> contextlib.closing[SQLiteLedger]:
        return contextlib.closing(SQLiteLedger(self._settings.ledger_home))


class SharedAccounts:
    """The accounts of an authority that many hosts share.

    Attributes:
        authority: It.
        address: As it was named; may hold a password.

    Args:
        settings: Where this host's ledger is.
    """

    def __init__(self, settings: Settings, address: str, authority: ServedAuthority) -> None:
        self.authority = authority
        self.address = address
        self._settings = settings

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand over all hosts."""
        return self.authority.balances(accounts)

    def touch(self, touch: Touch) -> str:
        """Name the period that an owner is in over all hosts."""
        return self.authority.touch(touch)

    def unresolved(self) -> tuple[OpenHold, ...]:
        """Return what ended leases of all hosts leave open, each by its lease."""
        return tuple(
            [
                OpenHold(
                    call_id=one.lease_id,
                    account=one.account,
                    amount=one.amount,
                    started_at_unix_ns=one.since_unix_ns,
                    is_unresolved=True,
                )
                for one in self.authority.unresolved()
            ]
        )

    def sweep(self) -> None:
        """End the leases that are over."""
        self.authority.expire()

    def store(self, adjustment: Adjustment) -> None:
        """Store an operator's posting in this host's ledger, and settle it at once.

        Raises:
            ConfigError: It is not for this key to make, and was not stored.
            LedgerError: It was stored, and is not in force yet.
        """
        if isinstance(self.authority, HttpAuthority) and lowers(adjustment.charges):
            self.authority.check_may_credit()
        with contextlib.closing(SQLiteLedger(self._settings.ledger_home)) as ledger:
            books = self._books(ledger)
            books.adjust(adjustment)
        _say_refused(books)

    def fill(self) -> int:
        """Tell all that this host's events charge, told before or not; return how many there are.

        What events were folded to counts anew where the authority still knew them.

        Raises:
            LedgerError: The ledger or the authority can't answer.
        """
        with contextlib.closing(SQLiteLedger(self._settings.ledger_home)) as ledger:
            ledger.open()
            ledger.note_settled(name_of(self.address), 0, ledger.inode())
            books = self._books(ledger)
            done = books.settle(with_totals=True)
        _say_refused(books)
        return done

    def unsettled(self) -> int:
        """Count this host's events that were not settled with it yet; 0 without a ledger.

        Raises:
            LedgerError: The ledger can't be read.
        """
        path = self._settings.ledger_home / LEDGER_FILE
        if not path.exists():
            return 0
        reader = LedgerReader(path)
        return max(0, reader.highest_number() - reader.settled(name_of(self.address)))

    def refused(self) -> tuple[Sighting | None, Sighting | None]:
        """Return what was seen of its refusing postings of this host, and of all told again since.

        Raises:
            LedgerError: The ledger can't be read.
        """
        path = self._settings.ledger_home / LEDGER_FILE
        seen = LedgerReader(path).sightings() if path.exists() else ()
        own = {one.kind: one for one in seen if one.name == name_of(self.address)}
        return own.get(POSTING_REFUSED), own.get(POSTINGS_TOLD)

    def _books(self, ledger: SQLiteLedger) -> SettlingBooks:
        return SettlingBooks(ledger, self.authority, name=name_of(self.address))


def _say_refused(books: SettlingBooks) -> None:
    """Say that something is not in force which the authority does not take of this key.

    Raises:
        LedgerError: Something is not.
    """
    if books.refused:
        raise LedgerError(
            f"the rest was told, but {len(books.refused)} postings of operators "
            f"({', '.join(books.refused[:_MOST_NAMED])}) are not in force: the server takes them "
            "of an admin's key alone. Set TOLLSPAN_API_KEY to one with the scopes ingest and admin,"
            " and run `tollspan authority fill`"
        )


@contextlib.contextmanager
def accounts_in_force(settings: Settings | None = None) -> Generator[Accounts]:
    """Open who has the accounts here, for a block; nothing is connected before it is asked.

    Args:
        settings: As the environment and the rules' document say them; None to read them.

    Raises:
        ConfigError: Settings or rules are wrong, or a driver is missing.
    """
    settings = settings or settings_in_force()
    if settings.authority in OWN_AUTHORITIES:
        yield HostAccounts(settings)
        return
    with shared_accounts(settings=settings) as shared:
        yield shared


@contextlib.contextmanager
def shared_accounts(
    address: str | None = None, *, settings: Settings | None = None
) -> Generator[SharedAccounts]:
    """Open an authority that many hosts share, for a block.

    Args:
        address: Which; None for the one in force.
        settings: As in `accounts_in_force`.

    Raises:
        ConfigError: As `accounts_in_force`; or the one in force is nobody else's.
    """
    settings = settings or settings_in_force()
    address = address or settings.authority
    if address in OWN_AUTHORITIES:
        raise ConfigError(
            f"the authority here is {address}, which nobody else shares: set TOLLSPAN_AUTHORITY, "
            "or name one: tollspan authority status redis://localhost"
        )
    lease = settings.lease
    if lease.wait_seconds < PATIENT_SECONDS:  # a person waits longer than a call may
        lease = msgspec.structs.replace(lease, wait_seconds=PATIENT_SECONDS)
    authority = authority_at(address, lease, key=settings.api_key)
    try:
        yield SharedAccounts(settings, address, authority)
    finally:
        authority.close()
