"""What an authority for many hosts needs of whoever keeps its state."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol

from .account_rows import Key, Row
from .folding import FoldLook, FoldOrder
from .idle import Touch
from .listing import AccountPage
from .shared_state import Holding
from .values import Account, Balance


class KeptState(Protocol):
    """What an authority knows, as it asks for it and changes it.

    Rows, leases and their parts are changed where they are: whoever keeps them sees to it that they
    are kept once the step is over.

    Attributes:
        epoch, last_epoch: That in which it grants, if any; the highest that was ever seen.
    """

    epoch: str | None
    last_epoch: str

    def row(self, key: Key) -> Row:
        """Find an account's sums, or make them, to change them."""
        ...

    def balance(self, account: Account) -> Balance:
        """Return how an account stands."""
        ...

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show so many accounts at most, from where the cursor of the page before leads.

        Raises:
            ValueError: It is none.
        """
        ...

    def lease(self, lease_id: str) -> Holding | None:
        """Find a lease, open or ended."""
        ...

    def renew(self, lease_id: str, has: Holding) -> None:
        """Keep a lease as open, with its new end."""
        ...

    def end(self, lease_id: str, has: Holding) -> None:
        """Keep an open lease as ended."""
        ...

    def forget(self, lease_id: str) -> None:
        """Forget an ended lease."""
        ...

    def opened(self) -> list[tuple[str, Holding]]:
        """Return all open leases."""
        ...

    def over(self, now_unix_ns: int, most: int | None) -> list[tuple[str, Holding]]:
        """Return open leases whose life is over, so many at most."""
        ...

    def ended_before(self, unix_ns: int, most: int | None) -> list[tuple[str, Holding]]:
        """Return leases that ended until then, so many at most; those written off long ago too."""
        ...

    def left(self, since_unix_ns: int) -> list[tuple[str, Holding]]:
        """Return leases that ended since then, and were not written off."""
        ...

    def note_settled(self, call_id: str, now_unix_ns: int) -> bool:
        """Note that a call is settled; False where it was before."""
        ...

    def forget_settled(self, before_unix_ns: int, most: int) -> None:
        """Forget calls that were settled before then, so many at most."""
        ...

    def is_first(self, key: Key, share: Decimal) -> bool:
        """Note that an account was told to have passed a share; False where that was before."""
        ...

    def touch(self, touch: Touch, now_unix_ns: int) -> str:
        """Note that the owner of an account is active, and name the period."""
        ...

    def look(self, most: int, now_unix_ns: int) -> FoldLook:
        """Show accounts to whoever folds them."""
        ...

    def fold(self, order: FoldOrder, now_unix_ns: int) -> bool:
        """Fold accounts; what was told of them is forgotten, and who is silent for long."""
        ...
