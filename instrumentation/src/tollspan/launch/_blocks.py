"""`budget(…)`: a block, or a function, with a budget of its own."""

from __future__ import annotations

import time

from tollspan.attribution import Budgeted
from tollspan.budget import Account, Headroom, headroom_of, parse_limit
from tollspan.usage import BLOCK_PERIOD, BlockBudget, BudgetUnit, check_value, format_amount

from ._install import installed_or_raise


class BudgetBlock(Budgeted):
    """What `budget` returns: enter it with `with`, or decorate functions with it.

    Attributes:
        id: The budget's id, as denials and events tell it in `rule_id`.
        limit: In the unit.
        unit: What is counted: `usd` (then all amounts are nano-USD), `tokens` or `calls`.
    """

    def __init__(self, said: BlockBudget) -> None:
        self.id = said.id
        self.limit = said.limit
        self.unit: BudgetUnit = said.unit
        super().__init__(said, self._get_ready)

    def __repr__(self) -> str:
        """Return the call that made it."""
        return f"budget({self.id!r}, limit={format_amount(self.limit, self.unit)!r})"

    @property
    def headroom(self) -> Headroom:
        """How the budget stands now, over all blocks of its id in all processes.

        It reads the ledger: a fraction of a millisecond, longer while other processes write to it.

        Raises:
            NotInstalledError: No call of this process is gated.
            LedgerError: The ledger can't be read.
        """
        installed = installed_or_raise(f"budget({self.id!r})")
        account = Account(
            budget_id=self.id, scope="", period=BLOCK_PERIOD, limit=self.limit, unit=self.unit
        )
        (balance,) = installed.gate.balances((account,))
        return headroom_of(balance, None, time.time_ns())

    @property
    def spent(self) -> int:
        """What is spent, in the unit; read as `headroom` is."""
        return self.headroom.spent

    @property
    def held(self) -> int:
        """What is held for calls that run now, and what is unresolved."""
        return self.headroom.held

    @property
    def remaining(self) -> int:
        """What is left for further calls, never below 0."""
        return self.headroom.remaining

    def _get_ready(self) -> None:
        installed_or_raise(f"budget({self.id!r})").gate.heed_blocks()


def budget(budget_id: str, *, limit: str) -> BudgetBlock:
    """Give the calls inside of a block a budget of their own, over the rules' and in their place.

    Blocks nest: a call counts in all that it is made in, and is refused by any. Threads and tasks
    take part as they do in attribution: what starts inside of a block counts in it, threads by
    `bind`. The account is named by the id: whoever opens the same id, in another process too,
    spends the same money; it is given back only when nobody has opened the id for 400 days. Give
    each task an id of its own.

    Args:
        budget_id: 1 to 256 characters without control characters.
        limit: `0.50 USD`, `50000 tokens` or `20 calls`; 0 allows nothing.

    Raises:
        AttributionError: The id is none.
        ConfigError: The limit is none.
        NotInstalledError: When the block is entered: no call of this process is gated.
    """
    name = check_value("a budget's id", budget_id)
    amount, unit = parse_limit(limit, source=f"budget({name!r})")
    return BudgetBlock(BlockBudget(id=name, limit=amount, unit=unit))
