"""The rules in force of each tenant, parsed, for whoever decides or shows by them.

Other servers before the same books change them too: what is in force is looked up anew after a
second at most, and at once where this server changed it. A document is parsed once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from tollspan.budget import RuleSet, parse_rules
from tollspan.ledger.central import RulesDocument, RulesHead, RulesStore

LOOK_SECONDS: Final = 1.0
SOURCE: Final = "rules"
"""What messages call a document that is put."""
_MOST_HEADS: Final = 10_000
_MOST_PARSED_BYTES: Final = 32 << 20


class TenantRules(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant goes by.

    Attributes:
        version: Counts the tenant's documents, from 1; 0 where there is none.
        etag: Of the document as it was put, with its quotes; None where there is none.
        text: The document as it was put; empty where there is none.
        rules: What it says; of no budget and no policy where there is none.
    """

    version: int = 0
    etag: str | None = None
    text: str = ""
    rules: RuleSet = RuleSet()


NO_RULES: Final = TenantRules()


def etag_of(head: RulesHead) -> str:
    """Return the strong ETag of a document as it was put."""
    return f'"{head.digest}"'


class RulesInForce:
    """Knows the rules of each tenant; safe for threads.

    Args:
        store: Where they are kept.
        clock: Tells the time in seconds, from anywhere.
    """

    def __init__(self, store: RulesStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._heads: OrderedDict[str, tuple[float, RulesHead | None]] = OrderedDict()
        self._parsed: OrderedDict[str, TenantRules] = OrderedDict()
        self._parsed_bytes = 0

    def of(self, tenant: str) -> TenantRules:
        """Return a tenant's rules, not older than a second.

        Raises:
            ConfigError: They were put by a program that reads rules otherwise, and can't be read.
            LedgerUnavailableError: The database does not answer.
        """
        head = self._head(tenant)
        if head is None:
            return NO_RULES
        name = f"{tenant}/{head.version}"
        with self._lock:
            found = self._parsed.get(name)
            if found is not None:
                self._parsed.move_to_end(name)
                return found
        document = self._store.document(tenant, head.version)
        if document is None:  # forgotten since, for very many newer ones: those are in force
            document = self._store.document(tenant)
            name = f"{tenant}/{0 if document is None else document.version}"
        return NO_RULES if document is None else self._parse(name, document)

    def etag(self, tenant: str) -> str | None:
        """Return the ETag of a tenant's rules, not older than a second; None where there are none.

        Raises:
            LedgerUnavailableError: The database does not answer.
        """
        head = self._head(tenant)
        return None if head is None else etag_of(head)

    def forget(self, tenant: str) -> None:
        """Look up a tenant's rules anew when they are asked for next."""
        with self._lock:
            self._heads.pop(tenant, None)

    def _head(self, tenant: str) -> RulesHead | None:
        now = self._clock()
        with self._lock:
            until, head = self._heads.get(tenant, (now, None))
        if now < until:
            return head
        head = self._store.head(tenant)
        with self._lock:
            before = self._heads.pop(tenant, (0.0, None))[1]
            if before is not None and (head is None or head.version < before.version):
                head = before  # another thread has seen what came later
            self._heads[tenant] = (now + LOOK_SECONDS, head)
            while len(self._heads) > _MOST_HEADS:
                self._heads.popitem(last=False)
        return head

    def _parse(self, name: str, document: RulesDocument) -> TenantRules:
        made = TenantRules(
            version=document.version, etag=etag_of(document), text=document.text,
            rules=parse_rules(document.text, source=SOURCE),
        )  # fmt: skip
        with self._lock:
            if name not in self._parsed:
                self._parsed[name] = made
                self._parsed_bytes += len(made.text)
            while self._parsed_bytes > _MOST_PARSED_BYTES:
                self._parsed_bytes -= len(self._parsed.popitem(last=False)[1].text)
        return made
