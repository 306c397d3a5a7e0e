"""Blocks with a budget of their own: what is called inside counts in it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

from opentelemetry.context import Context, get_current

from tollspan.usage import Attribution, BlockBudget

from ._carrying import carry
from ._current import stating
from ._frames import Deriving, enter, leave

F = TypeVar("F", bound=Callable[..., object])


class Budgeted:
    """A budget for a block or for a function, which travels with the context as attribution does.

    One object may be used often, nested, and by several threads and tasks at the same time.

    Args:
        said: The budget.
        get_ready: Called when a block is entered, and before each call of a function: sees that
            somebody heeds the budget, or raises.
    """

    def __init__(self, said: BlockBudget, get_ready: Callable[[], object]) -> None:
        self._said = Attribution(budgets=(said,))
        self._get_ready = get_ready

    def __enter__(self) -> Self:
        """Enter the block."""
        self._get_ready()
        enter(self, stating(get_current(), self._said))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leave(self)

    def __call__(self, function: F) -> F:
        """Return a function of the same kind and signature, whose calls count in the budget.

        Raises:
            AttributionError: It is no function.
        """

        def plan(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deriving:  # noqa: ARG001 - a plan
            self._get_ready()
            return partial(_stating, self._said)

        return carry(function, plan)


def _stating(said: Attribution, around: Context) -> Context:
    return stating(around, said)
