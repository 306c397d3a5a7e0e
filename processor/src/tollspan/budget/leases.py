"""The values of leases: what a process asks of an authority beforehand, to decide by itself then.

A lease is an escrow. What is granted is held in the authority's accounts at once, so that
`posted + held + unresolved <= limit` there; a process that never holds more than it was granted
can't overspend, whatever the network does.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Protocol

import msgspec

from tollspan.usage import Charge, ConfigError, LedgerError

from .folding import Foldable
from .idle import Touch
from .ports import Busy
from .values import Account, Balance, Refusal

OWN_AUTHORITIES: Final = ("sqlite:", "memory:")
"""What holds money for this host, or this process, alone."""
SHARED_SCHEMES: Final = ("redis", "rediss", "unix", "postgresql", "postgres", "https", "http")
"""How the addresses of authorities begin that many hosts share."""
ROOM_SHARE: Final = 16
"""A grant takes no more than this part of what an account has left, unless one call needs more."""
LIMIT_SHARE: Final = 256
"""A lease asks for no more than this part of a limit at once, unless one call needs more."""


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Who borrows: one process, until its lease expires or it forks.

    Attributes:
        holder: The process, by a name that no other has.
        fence: Counts the leases of a holder. What was granted under an older one is gone for it:
            calls that were made with it are counted as spent, and nothing of them comes back.
        epoch: The epoch of a shared authority in which it was first granted something, as that
            said; None before, and where there are no epochs.
        heard: The highest `Grant.number` that its holder has heard of.
    """

    holder: str
    fence: int = 1
    epoch: str | None = None
    heard: int = 0

    @property
    def id(self) -> str:
        """The lease's name, in accounts and events."""
        return f"{self.holder}/{self.fence}"


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease should have more in one account.

    Attributes:
        account: The account, with the limit by which it is asked.
        known: All that was ever granted to this lease there, as far as the holder knows. Where the
            authority knows of more, its last answer was lost: that is told again, and granted once.
        need: The least that must come, in the account's unit.
        wish: What is wanted, `need` or more.
        part: Numbers what the lease has there: once it was given up, the next has another number,
            so that an old message that arrives late is not taken for one about the new.
    """

    account: Account
    known: int
    need: int
    wish: int
    part: int = 0


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What an authority granted: `need` or more in every account, or nothing at all.

    Attributes:
        totals: All that was ever granted to the lease in each account, in the order of the wants.
        life_seconds: How long the lease lives from the moment at which this was asked for; None for
            as long as its process.
        short: Soft accounts that had no room, and got `need` all the same.
        epoch: In which epoch of a shared authority it was granted.
        number: Counts the grants of the lease there. An authority that has counted less than a
            holder has heard of has lost what it knew.
    """

    totals: tuple[int, ...]
    life_seconds: float | None = None
    short: Refusal | None = None
    epoch: str | None = None
    number: int = 0


class GivenBack(msgspec.Struct, frozen=True, kw_only=True):
    """What a lease does not need any more in one account.

    Attributes:
        account: The account.
        amount: What goes back now.
        total: All that ever went back, this included: told twice, it counts once.
        is_last: The lease has nothing left there, and no call in flight. What it still holds is
            for events that were not settled yet: the last of them ends it.
        part: As in `Want`.
        known: All that was ever granted there, as far as the holder knows. At the last, what is
            beyond that goes back too: its answer was lost, so nobody can have spent it. None where
            no answer gets lost.
    """

    account: Account
    amount: int
    total: int
    is_last: bool = False
    part: int = 0
    known: int | None = None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """What a finished call puts into its accounts.

    Attributes:
        call_id: The call; settled twice, it counts once.
        lease_id: From whose lease it was held; None for none.
        charges: What it posts, account by account.
    """

    call_id: str
    lease_id: str | None
    charges: tuple[Charge, ...]


def lowers(charges: Sequence[Charge]) -> bool:
    """Say whether charges lower what is counted: no call does that, only an operator's hand."""
    return any(one.posted < 0 or one.unresolved < 0 for one in charges)


class SettlementsRefusedError(LedgerError):
    """An authority has charged all that it was told but some, which it never will for this key.

    Attributes:
        refused: The ids of their calls, or postings.
    """

    def __init__(self, text: str, refused: Sequence[str]) -> None:
        super().__init__(text)
        self.refused = tuple(refused)


class LeaseLostError(LedgerError):
    """The authority no longer knows a lease: it expired, or the authority lost its state."""


class Lessor(Protocol):
    """An authority that grants leases."""

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none; see `size` for how much.

        Waits a bounded time. Accounts come once each.

        Raises:
            LeaseLostError: The lease is over; nothing was granted.
            LedgerError: The authority can't answer. What it granted all the same, it says again.
        """
        ...

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:
        """Do as `grant` does, but never wait; `BUSY` where that can't be had."""
        ...

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        """Take back what a lease does not need, and let it live on.

        Returns:
            As `Grant.life_seconds`.

        Raises:
            LeaseLostError: The lease is over: what it held is not the holder's to give back.
            LedgerError: The authority can't answer; told again, it counts once.
        """
        ...

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, as `Authority.touch` does.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...


class Unresolved(msgspec.Struct, frozen=True, kw_only=True):
    """Money of a lease that is over, of which nobody knows yet whether it was spent.

    Attributes:
        lease_id: The lease.
        account: Where it is counted, with limit 0.
        amount: How much, in the account's unit; events of its calls that come late take it down.
        since_unix_ns: When the lease ended, by the authority's clock.
    """

    lease_id: str
    account: Account
    amount: int
    since_unix_ns: int


class SharedAuthority(Lessor, Foldable, Protocol):
    """An authority for many hosts: it keeps accounts and leases, but no events.

    Leases expire there. What they still hold then becomes unresolved; when the horizon is over it
    is taken for spent, and an event that comes later still is counted once. Its clock counts.

    It grants nothing before it was opened, and nothing once it has lost what it knew: when its
    epoch is gone, or when it knows less than a holder was told (`LeaseLostError`, after which it is
    closed until somebody opens it anew). Names of epochs sort by when they were opened, so that it
    tells a lease of an older epoch, which is over, from one of an epoch that it has lost.

    While it is closed it takes settlements, answers questions, and ends leases; it neither grants
    nor renews. A message that comes late, about a part that was given up since, changes nothing
    (`LeaseLostError`): whoever sent it does not listen any more.
    """

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Charge finished calls, each once however often it is told, whatever their lease became.

        What a charge says to be drawn (else all that it posts and leaves unresolved) goes out of
        the lease: out of what it holds, out of what is unresolved of it, or out of what the horizon
        took for spent, so that nothing counts twice. One round trip for all of them.

        Raises:
            SettlementsRefusedError: It has charged the others; those it does not let this client.
            LedgerError: The authority can't answer; tell it again.
        """
        ...

    def expire(self) -> int:
        """End the leases that are over, and take for spent what is beyond the horizon.

        Returns:
            How many leases have ended.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def unresolved(self, *, since_unix_ns: int = 0) -> tuple[Unresolved, ...]:
        """Return what ended leases leave open, oldest first; of those that ended since then.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def resolve(self, lease_id: str, account: Account, *, spent: int) -> None:
        """Settle by hand what an ended lease leaves open in an account: so much was spent.

        The rest is free again. An event that comes later is counted beside it.

        Raises:
            LedgerError: The authority can't answer, or nothing of that is unresolved there.
        """
        ...

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether no host has told yet that an account passed a share; note that now.

        Any other number may name something else that is to be told of an account once.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def epoch(self) -> str | None:
        """Name the epoch that it grants in; None while it is not open.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def open_epoch(self) -> str:
        """Open it in a new epoch: leases of older ones are over. Return its name.

        For an operator: at first, and after `settle` has told anew what was lost.

        Raises:
            LedgerError: The authority can't answer.
        """
        ...

    def close(self) -> None:
        """Let go of connections; the next question opens them again. Also in a forked child."""
        ...


class LeaseSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How leases are sized and how long they are kept.

    Attributes:
        first: How many calls like the first one a new lease is for.
        most: How many calls a lease is for at most, however fast they come. With 1, each call is
            granted by itself and what it did not use goes back at once.
        hurry_seconds: A lease that is used up sooner than this is doubled the next time.
        idle_seconds: What was not asked for so long goes back.
        renew_share: More is asked for, by another thread, when less than this part is left.
        life_seconds: How long a lease of a shared authority lives, unless it is renewed.
        horizon_seconds: When what an ended lease leaves open is taken for spent.
        drift_seconds: A lease is over for its holder so much earlier than for the authority, for
            clocks that don't run alike.
        wait_seconds: How long a call waits for a grant.
    """

    first: int = 4
    most: int = 256
    hurry_seconds: float = 0.5
    idle_seconds: float = 10.0
    renew_share: float = 0.25
    life_seconds: float = 30.0
    horizon_seconds: float = 86_400.0
    drift_seconds: float = 1.0
    wait_seconds: float = 0.25

    def __post_init__(self) -> None:
        """Refuse what can't be meant.

        Raises:
            ConfigError: A value makes no sense beside the others.
        """
        if not 1 <= self.first <= self.most:
            raise ConfigError(f"first is {self.first}; expected 1 to most ({self.most}) calls")
        if not 0 <= self.renew_share < 1:
            raise ConfigError(f"renew is {self.renew_share}; expected a share from 0 to below 1")
        if min(self.hurry_seconds, self.idle_seconds, self.drift_seconds) < 0:
            raise ConfigError("hurry, idle and drift are seconds, 0 or more")
        if not self.drift_seconds < self.life_seconds / 2:
            raise ConfigError(
                f"life is {self.life_seconds} s; expected more than twice the drift "
                f"({self.drift_seconds} s): a lease is renewed at half its life"
            )
        if self.horizon_seconds < self.life_seconds:
            raise ConfigError(
                f"horizon is {self.horizon_seconds} s; expected the life of a lease "
                f"({self.life_seconds} s) or more"
            )


def size(*, need: int, wish: int, room: int) -> int:
    """Return how much is granted where there is room for `need`.

    So much as is wished, but no more than a share of what the account has left: grants shrink with
    it, down to what one call needs, so that little lies unused with one holder while others are
    refused.
    """
    return max(need, min(wish, room // ROOM_SHARE))
