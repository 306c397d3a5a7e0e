"""The central ledger: the books of many hosts and many tenants, in SQLite or PostgreSQL.

`CentralLedger` opens it; its parts are tenants and keys, events, rules, and the audit log.
Everything here is synchronous, safe for threads, and durable when it returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from .asking import (
    NAMED,
    Bucket,
    Order,
    TooMuchError,
    UsagePage,
    UsageQuery,
    UsageRow,
    is_usage_dimension,
)
from .audit import (
    AUTHORITY_OPENED,
    EVERY_TENANT,
    MOST_CHARGES_NOTED,
    PRICES_CHANGED,
    Audit,
    AuditEntry,
    charges_noted,
)
from .charges import DueCharge, DueCharges, charges_back, due_charge
from .claims import Claims
from .day_groups import DayGroup, KeptDay, TakeApart
from .deliveries import (
    DEAD_AFTER_SECONDS,
    DELIVERY_STATES,
    Backlog,
    Deliveries,
    Delivery,
    DeliveryState,
    Errand,
    put_down,
)
from .doubts import Doubt
from .forgetting import AT_ONCE, forget_names
from .held_calls import HeldCall, HeldCalls, HeldState
from .horizon import NotKeptError
from .measures import GROUPED, UsageSums
from .notices import NOTICE_KINDS, Notice, NoticeKind, rules_changed
from .opening import Database, Watcher
from .partitions import Month, Partitions
from .reading import FILTERS, EventQuery, EventReader
from .receipts import GRAINS_NS, MOST_SENDERS, Receipts, Sender
from .repricing import Repriced, RepricedRow, RepriceQuery, Repricer
from .retention import Retention
from .rows import (
    CALL_KINDS,
    FROM_SPAN,
    LATE,
    SUPERSEDED,
    SUSPECTED,
    Place,
    StoredEvent,
    counted_call,
)
from .rules import RulesDocument, RulesHead, RulesStore, RulesVersion
from .sameness import ToldCall
from .sessions import Sessions
from .spans import SpanStore, supersede
from .spent_accounts import MOST_SPENT, SpentAccount, SpentAccounts
from .storing import EventStore, Stored
from .summing import UsageReader
from .tenants import SCOPES, ApiKey, Scope, Tenant, Tenants
from .webhooks import MOST_WEBHOOKS, Webhook, Webhooks

__all__ = [
    "AUTHORITY_OPENED",
    "CALL_KINDS",
    "DEAD_AFTER_SECONDS",
    "DELIVERY_STATES",
    "EVERY_TENANT",
    "FILTERS",
    "FROM_SPAN",
    "GRAINS_NS",
    "GROUPED",
    "LATE",
    "MOST_CHARGES_NOTED",
    "MOST_SENDERS",
    "MOST_SPENT",
    "MOST_WEBHOOKS",
    "NAMED",
    "NOTICE_KINDS",
    "PRICES_CHANGED",
    "SCOPES",
    "SUPERSEDED",
    "SUSPECTED",
    "ApiKey",
    "AuditEntry",
    "Backlog",
    "Bucket",
    "CentralLedger",
    "Claims",
    "DayGroup",
    "Deliveries",
    "Delivery",
    "DeliveryState",
    "Doubt",
    "DueCharge",
    "DueCharges",
    "Errand",
    "EventQuery",
    "HeldCall",
    "HeldCalls",
    "HeldState",
    "KeptDay",
    "Month",
    "NotKeptError",
    "Notice",
    "NoticeKind",
    "Order",
    "Partitions",
    "Place",
    "Receipts",
    "RepriceQuery",
    "Repriced",
    "RepricedRow",
    "Repricer",
    "Retention",
    "RulesDocument",
    "RulesHead",
    "RulesStore",
    "RulesVersion",
    "Scope",
    "Sender",
    "Sessions",
    "SpentAccount",
    "SpentAccounts",
    "Stored",
    "StoredEvent",
    "TakeApart",
    "Tenant",
    "Tenants",
    "ToldCall",
    "TooMuchError",
    "UsagePage",
    "UsageQuery",
    "UsageReader",
    "UsageRow",
    "UsageSums",
    "Webhook",
    "Webhooks",
    "charges_back",
    "charges_noted",
    "counted_call",
    "due_charge",
    "is_usage_dimension",
    "put_down",
    "rules_changed",
]

_CHECK: Final = "check"


class CentralLedger:
    """The books of an ingest server.

    Attributes:
        name: Where they are, without a password.
        tenants: Whose they are, and who may do what.
        sessions: Who looks at the page.
        events: Stores events.
        spans: Stores calls that only spans tell of.
        reader: Reads events.
        usage: Sums what was used, by anything that is known of a call.
        repricer: Prices calls anew.
        receipts: What came in, and who sent it.
        rules: The tenants' rules, with their history.
        audit: Who changed what.
        partitions: The tables of months, on PostgreSQL.
        retention: What is kept of old events.
        claims: Which process does work that one does at a time.
        webhooks: Who is told of what.
        deliveries: What they are told.
        held_calls: Calls that asked over HTTP before they were made.
        spent_accounts: Accounts that hosts are told are used up.
        charges_due: What events charge that no host charges, until the authority has it.

    Args:
        where: `sqlite:PATH` or `postgresql://…`.
        clock: Tells the time in nanoseconds since the epoch.

    Raises:
        ConfigError: It names no database.
        LedgerError: It can't be opened.
    """

    def __init__(self, where: str, *, clock: Callable[[], int] = time.time_ns) -> None:
        database = Database(where)
        self._database = database
        self.name = database.name
        self.tenants = Tenants(database, clock)
        self.spans = SpanStore(database, clock)
        self.events = EventStore(database, clock, supersede)
        self.sessions = Sessions(database, clock)
        self.reader = EventReader(database)
        self.usage = UsageReader(database)
        self.repricer = Repricer(database, clock)
        self.receipts = Receipts(database)
        self.rules = RulesStore(database, clock)
        self.audit = Audit(database, clock)
        self.partitions = Partitions(database)
        self.retention = Retention(database, self.partitions, clock)
        self.claims = Claims(database, clock)
        self.webhooks = Webhooks(database, clock)
        self.deliveries = Deliveries(database, clock)
        self.held_calls = HeldCalls(database, clock)
        self.spent_accounts = SpentAccounts(database, clock)
        self.charges_due = DueCharges(database, clock)

    def watch(self, told: Watcher) -> None:
        """Tell of every transaction: `reading` or `writing`, how it ended, how many seconds.

        It ends `ok`, `unavailable` or `failed`.
        """
        self._database.told = told

    def check(self) -> None:
        """Ask the database for something; where it could not store, have it store something.

        Raises:
            LedgerUnavailableError: It does not answer, or still can't store.
        """
        with self._database.reading() as connection:
            connection.exec_driver_sql("SELECT 1")
        if self._database.trouble is not None:
            self.claims.take(_CHECK, _CHECK, seconds=0)

    def forget_names(self, before_unix_ns: int, most: int = AT_ONCE) -> int:
        """Forget by what some of the events before a time are known; 0 when all is forgotten.

        Only for times of which no event is taken any more.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        return forget_names(self._database, before_unix_ns, most)

    def close(self) -> None:
        """Close all connections."""
        self._database.close()
