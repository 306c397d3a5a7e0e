"""What metric readers observe: how budgets, leases and the outbox stand when they look."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import msgspec
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from tollspan import safety, semconv
from tollspan.budget import LeaseState, LeaseStock
from tollspan.usage import BudgetUnit, parts_of

from ._decision_log import scope_text

_T = TypeVar("_T")
Observe = Callable[[CallbackOptions], Iterable[Observation]]


class BudgetState(msgspec.Struct, frozen=True, kw_only=True):
    """How one account of a budget stands.

    Attributes:
        budget_id: The budget.
        scope: (dimension, value) pairs; `()` for an undivided budget.
        unit: What the numbers count: `USD`, `tokens`, `calls`.
        limit, spent, held: In that unit; what is unresolved is held.
        unresolved: What of that is unresolved.
        period_seconds: How long the window in force is; None where no clock ends it.
        ends_at_unix_ns: When it ends, and all of the limit is there again; None where it does not,
            or bit by bit, as in a rolling window.
    """

    budget_id: str
    scope: tuple[tuple[str, str | None], ...] = ()
    unit: str
    limit: float
    spent: float
    held: float
    unresolved: float = 0.0
    period_seconds: int | None = None
    ends_at_unix_ns: int | None = None


class ShippingState(msgspec.Struct, frozen=True, kw_only=True):
    """How sending events to an ingest API goes.

    Attributes:
        waiting: Events that are to be sent, by whichever process of the host; None where the
            ledger can't say.
        oldest_unix_ns: When the first of these began; None for none.
        sent, rejected: Events that this process has sent, taken and refused for good.
        failures: (reason, how many) of batches that were not taken.
    """

    waiting: int | None
    oldest_unix_ns: int | None
    sent: int
    rejected: int
    failures: tuple[tuple[str, int], ...]


class States(Protocol):
    """Reads how things stand; called by a metric reader, in whichever thread."""

    def budgets(self) -> Sequence[BudgetState]:
        """Return the accounts in force; bounded in number and time."""
        ...

    def outbox(self) -> tuple[int, int | None]:
        """Return how many events wait, and when the oldest began, nanoseconds since the epoch."""
        ...

    def leases(self) -> LeaseState | None:
        """Return how this process's leases stand; None where it has none."""
        ...

    def shipping(self) -> ShippingState | None:
        """Return how sending goes; None where events stay on this host."""
        ...

    def unsettled(self) -> int | None:
        """Count events that a shared authority was not told yet; None where there is none."""
        ...


Observed = Callable[[], States | None]
"""Returns what an instrument observes: the same one outlives what was installed."""


def observe_states(meter: Meter, observed: Observed) -> None:
    """Make the instruments of a meter that are observed."""
    for metric, observe in _observables(observed):
        make = (
            meter.create_observable_gauge
            if metric.kind == "observable gauge"
            else meter.create_observable_counter
        )
        make(metric.name, callbacks=[observe], unit=metric.unit, description=metric.description)


def people_unit(unit: BudgetUnit) -> str:
    """Name a unit as metrics do: `USD` for `usd`, whose amounts are nano-USD."""
    return "USD" if unit == "usd" else unit


def _observables(observed: Observed) -> Sequence[tuple[semconv.Metric, Observe]]:
    return (
        *_budgets(observed),
        *_leases(observed),
        (semconv.METRIC_OUTBOX_EVENTS, _of_outbox(observed, lambda count, _: count)),
        (semconv.METRIC_OUTBOX_AGE, _of_outbox(observed, _age_seconds)),
        *_shipping(observed),
        (semconv.METRIC_INTERNAL_ERRORS, _internal_errors),
    )


def _budgets(observed: Observed) -> Sequence[tuple[semconv.Metric, Observe]]:
    def of(number: Callable[[BudgetState], float | None]) -> Observe:
        return _guarded(
            observed,
            lambda states: [
                _of_budget(told, one)
                for one in states.budgets()
                if (told := number(one)) is not None
            ],
        )

    return (
        (semconv.METRIC_BUDGET_LIMIT, of(lambda state: state.limit)),
        (semconv.METRIC_BUDGET_SPENT, of(lambda state: state.spent)),
        (semconv.METRIC_BUDGET_HELD, of(lambda state: state.held)),
        (semconv.METRIC_BUDGET_UNRESOLVED, of(lambda state: state.unresolved)),
        (
            semconv.METRIC_BUDGET_REMAINING,
            of(lambda state: max(0.0, state.limit - state.spent - state.held)),
        ),
        (semconv.METRIC_BUDGET_PERIOD, of(lambda state: state.period_seconds)),
        (semconv.METRIC_BUDGET_RESETS_IN, of(lambda state: _until_seconds(state.ends_at_unix_ns))),
    )


def _leases(observed: Observed) -> Sequence[tuple[semconv.Metric, Observe]]:
    def of(number: Callable[[LeaseState], int]) -> Observe:
        return _guarded(
            observed,
            lambda states: [Observation(number(one)) for one in _some(states.leases())],
        )

    def of_stock(number: Callable[[LeaseStock], int]) -> Observe:
        return _guarded(
            observed,
            lambda states: [
                _of_stock(number(stock), stock)
                for one in _some(states.leases())
                for stock in one.stocks
            ],
        )

    return (
        (semconv.METRIC_LEASE_GRANTED, of_stock(lambda stock: stock.granted)),
        (semconv.METRIC_LEASE_REMAINING, of_stock(lambda stock: stock.remaining)),
        (semconv.METRIC_LEASE_REQUESTS, of(lambda state: state.answers)),
        (semconv.METRIC_LEASE_FAILURES, of(lambda state: state.failures)),
        (semconv.METRIC_LEASE_WAITS, of(lambda state: state.waits)),
        (semconv.METRIC_LEASE_LOST, of(lambda state: state.lost)),
        (
            semconv.METRIC_SETTLING_EVENTS,
            _guarded(
                observed,
                lambda states: [Observation(count) for count in _some(states.unsettled())],
            ),
        ),
    )


def _shipping(observed: Observed) -> Sequence[tuple[semconv.Metric, Observe]]:
    def of(look: Callable[[ShippingState], list[Observation]]) -> Observe:
        return _guarded(
            observed,
            lambda states: [seen for one in _some(states.shipping()) for seen in look(one)],
        )

    return (
        (semconv.METRIC_SHIPPING_WAITING, of(lambda one: _one_of(one.waiting))),
        (
            semconv.METRIC_SHIPPING_AGE,
            of(lambda one: [Observation(_age_seconds(0, one.oldest_unix_ns))]),
        ),
        (semconv.METRIC_SHIPPING_SENT, of(lambda one: [Observation(one.sent)])),
        (semconv.METRIC_SHIPPING_REJECTED, of(lambda one: [Observation(one.rejected)])),
        (
            semconv.METRIC_SHIPPING_FAILURES,
            of(
                lambda one: [
                    Observation(count, {semconv.ERROR_TYPE: kind}) for kind, count in one.failures
                ]
            ),
        ),
    )


def _one_of(number: int | None) -> list[Observation]:
    return [Observation(one) for one in _some(number)]


def _of_outbox(observed: Observed, number: Callable[[int, int | None], float]) -> Observe:
    return _guarded(observed, lambda states: [Observation(number(*states.outbox()))])


def _guarded(observed: Observed, look: Callable[[States], list[Observation]]) -> Observe:
    """Return what observes; nothing where nothing is installed, or on trouble of our own."""

    def observe(_: CallbackOptions) -> list[Observation]:
        states = observed()
        with safety.Guard("instrumentation.observe"):
            if states is not None:
                return look(states)
        return []

    return observe


def _of_budget(number: float, state: BudgetState) -> Observation:
    attributes = {
        semconv.TOLLSPAN_BUDGET_ID: state.budget_id,
        semconv.TOLLSPAN_BUDGET_UNIT: state.unit,
    }
    if state.scope:
        attributes[semconv.TOLLSPAN_BUDGET_SCOPE] = scope_text(state.scope)
    return Observation(number, attributes)


def _of_stock(number: int, stock: LeaseStock) -> Observation:
    return Observation(
        number / parts_of(stock.unit),
        {
            semconv.TOLLSPAN_BUDGET_ID: stock.budget_id,
            semconv.TOLLSPAN_BUDGET_UNIT: people_unit(stock.unit),
        },
    )


def _some(one: _T | None) -> tuple[_T, ...]:
    return () if one is None else (one,)


def _age_seconds(_: int, oldest_unix_ns: int | None) -> float:
    return 0.0 if oldest_unix_ns is None else max(0.0, (time.time_ns() - oldest_unix_ns) / 1e9)


def _until_seconds(unix_ns: int | None) -> float | None:
    return None if unix_ns is None else max(0.0, (unix_ns - time.time_ns()) / 1e9)


def _internal_errors(_: CallbackOptions) -> list[Observation]:
    return [
        Observation(
            count,
            {semconv.TOLLSPAN_PLACE: place, semconv.ERROR_TYPE: kind},
        )
        for (place, kind), count in list(safety.internal_errors.items())
    ]
