"""The PostgreSQL authority: accounts and leases of many hosts, one round trip a question.

Questions are functions in the database, in the schema `tollspan`: each is one statement and one
transaction, whose locks are taken in one order. Every question may be put again when its answer was
lost, and is, as long as there is time: grants by what their holder knows, what goes back by its
total, calls by their ids.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Collection, Sequence
from copy import copy
from decimal import Decimal
from typing import Final

import msgspec

from tollspan.budget import (
    BUSY,
    Account,
    AccountPage,
    Balance,
    Busy,
    FoldLook,
    FoldOrder,
    GivenBack,
    Grant,
    Lease,
    LeaseLostError,
    LeaseSettings,
    Refusal,
    Settlement,
    Touch,
    Unresolved,
    Want,
)
from tollspan.usage import LedgerError, LedgerUnavailableError, new_call_id

from . import _pg_words as words
from ._pg_errors import NOT_OPEN, LinkError
from ._pg_functions import OPENING_LOCK
from ._pg_inspecting import QUESTION, Said, risks_of
from ._pg_link import Link, Place
from ._pg_pool import Pool
from ._pg_schema import Schema
from ._pg_tables import VERSION, migration
from .inspecting import ServerReport, worst_first

_DEFAULTS: Final = LeaseSettings()
_PATIENT_SECONDS: Final = 5.0
"""How long questions may take for which no call waits."""
_OPENING_SECONDS: Final = 60.0
_TRIES: Final = 6
_PAUSE_SECONDS: Final = 0.01
"""Whoever collided with others asks again within this time."""
_SERVERS_SHARE: Final = 0.9
"""The server gives up waiting so much earlier than we do, so that we hear why."""
_MOST_SETTLED_AT_ONCE: Final = 500

_Seen = tuple[str | None, int, int]
"""How far an authority was seen to have counted: in which epoch, its own count, the server's."""


class PostgresAuthority:
    """A shared authority in a PostgreSQL database, 13 or newer. Safe for threads and forks.

    Nothing is connected before the first question. Messages of errors hold no password.

    Args:
        url: `postgresql://` or `postgres://`, as libpq reads it; its environment (`PGPASSWORD`,
            `PGSSLMODE` and so on) says what the URL leaves open.
        life_seconds: How long leases live, unless they are renewed.
        horizon_seconds: When what an ended lease leaves open is taken for spent.
        timeout_seconds: How long a grant may take, connecting and waiting for locks included.
        pool: Connections that are there already; None to make some when they are needed.
        tenant: Whose accounts these are, in a schema of their own; None for `tollspan`.

    Raises:
        ConfigError: The URL is wrong, or psycopg is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        life_seconds: float = _DEFAULTS.life_seconds,
        horizon_seconds: float = _DEFAULTS.horizon_seconds,
        timeout_seconds: float = _DEFAULTS.wait_seconds,
        pool: Pool | None = None,
        tenant: str | None = None,
    ) -> None:
        self._place = Place(url)
        self._schema = Schema(tenant)
        self._life_seconds = life_seconds
        self._horizon_seconds = horizon_seconds
        self._timeout_seconds = timeout_seconds
        self._url = url
        self._pool = Pool(self._place.connect) if pool is None else pool
        self._seen: _Seen = (None, 0, 0)

    def __repr__(self) -> str:
        return f"PostgresAuthority({self._place!r})"

    def of_tenant(self, tenant: str) -> PostgresAuthority:
        """Return a tenant's own, in the same database and over the same connections."""
        return PostgresAuthority(
            self._url,
            life_seconds=self._life_seconds,
            horizon_seconds=self._horizon_seconds,
            timeout_seconds=self._timeout_seconds,
            pool=self._pool,
            tenant=tenant,
        )

    def lasting(self, life_seconds: float) -> PostgresAuthority:
        """Return the same authority over the same connections, for leases that live so long."""
        other = copy(self)
        other._life_seconds = life_seconds  # noqa: SLF001 - a copy of this
        return other

    # -- leases --

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none.

        Raises:
            LeaseLostError: The lease is over, or the authority has lost what it knew.
            LedgerUnavailableError: No answer in time.
        """
        answer = self._ask_of(lease, "grant", words.want_words(wants))
        short: list[list[int]] = answer["short"]
        if answer["is"] == "refused":
            return words.refusal(wants, short)
        return Grant(
            totals=tuple(answer["totals"]),
            life_seconds=self._life_seconds,
            short=words.refusal(wants, short, is_held=True) if short else None,
            epoch=answer["seen_epoch"],
            number=answer["number"],
        )

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:  # noqa: ARG002 - the port's
        """Return `BUSY`: a network always makes one wait."""
        return BUSY

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        """Take back what a lease does not need, and let it live on.

        Raises:
            LeaseLostError: As in `grant`.
            LedgerUnavailableError: No answer in time; tell it again.
        """
        self._ask_of(lease, "give_back", words.given_words(parts))
        return self._life_seconds

    def _ask_of(self, lease: Lease, function: str, parts: list[words.Words]) -> words.Words:
        """Ask something of a lease."""
        question = {**words.lease_words(lease), "life": self._life_seconds, "parts": parts}
        answer = self._ask(function, question)
        if answer["is"] == "lost":
            raise LeaseLostError(f"lease {lease.id} is lost: {answer['why']}")
        if answer["is"] == "closed":
            raise self._not_open(answer["why"])
        return answer

    def _not_open(self, why: str | None) -> LedgerUnavailableError:
        why = why or "it was never opened"
        return LedgerUnavailableError(
            f"{self._place} is not open: {why}; settle what was lost anew, then {NOT_OPEN}"
        )

    # -- calls --

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Charge finished calls, each once; one round trip for five hundred of them.

        Raises:
            LedgerUnavailableError: Not all of them were charged; tell all again.
        """
        for start in range(0, len(settlements), _MOST_SETTLED_AT_ONCE):
            some = settlements[start : start + _MOST_SETTLED_AT_ONCE]
            self._ask("settle", {"calls": words.settlement_words(some)}, _PATIENT_SECONDS)

    def expire(self) -> int:
        """End the leases that are over, and take for spent what is beyond the horizon.

        Raises:
            LedgerUnavailableError: No answer in time; some may have ended.
        """
        ended = 0
        while True:
            answer = self._ask("expire", {}, _PATIENT_SECONDS)
            ended += int(answer["ended"])
            if not answer["has_more"]:
                return ended

    def unresolved(self, *, since_unix_ns: int = 0) -> tuple[Unresolved, ...]:
        """Return what ended leases leave open, oldest first; of those that ended since then.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        answer = self._ask("unresolved", {"since": str(since_unix_ns)}, _PATIENT_SECONDS)
        return tuple([words.left_open(row) for row in answer["left"]])

    def resolve(self, lease_id: str, account: Account, *, spent: int) -> None:
        """Settle by hand what an ended lease leaves open in an account: so much was spent.

        Raises:
            LedgerUnavailableError: No answer in time: whether it was done, `unresolved` says.
            LedgerError: Nothing of that is unresolved there.
        """
        question = {"lease": lease_id, "key": words.key(account), "spent": spent}
        answer = self._ask("resolve", question, _PATIENT_SECONDS, is_told_again=False)
        if answer["is"] == "nothing":
            raise LedgerError(f"lease {lease_id} leaves nothing unresolved in that account")

    # -- the rest --

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, and name its period.

        Raises:
            LedgerUnavailableError: No answer in time, or it is not open.
        """
        answer = self._ask("touch", words.touch_words(touch))
        if answer["is"] != "done":
            raise self._not_open(answer["why"])
        return str(answer["period"])

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        keys = [words.key(account) for account in accounts]
        found = self._ask("balances", {"keys": keys})["balances"]
        # The server writes a UUID with hyphens.
        sums = {name.replace("-", ""): amounts for name, amounts in found.items()}
        return tuple(
            [
                words.balance(account, sums.get(name, words.NO_SUMS))
                for account, name in zip(accounts, keys, strict=True)
            ]
        )

    def known_leases(self, lease_ids: Collection[str]) -> frozenset[str]:
        """Return which of these leases it granted.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        return frozenset(self._ask("known_leases", {"ids": sorted(lease_ids)})["ids"])

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show accounts, in the order of a digest of their names.

        Raises:
            ValueError: The cursor is none.
            LedgerUnavailableError: No answer in time.
        """
        after = uuid.UUID(cursor).hex if cursor else None
        question = {"after": after, "most": most}
        return words.accounts(self._ask("accounts", question, _PATIENT_SECONDS))

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether no host has told yet that an account passed a share; note that now.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        question = {"key": words.key(account), "share": str(share), "teller": uuid.uuid4().hex}
        return bool(self._ask("is_first", question)["is_first"])

    def look(self, most: int) -> FoldLook:
        """Show accounts to whoever folds them.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        return words.look(self._ask("look", {"most": most}, _PATIENT_SECONDS))

    def fold(self, order: FoldOrder) -> bool:
        """Fold accounts; those that somebody has locked stay.

        Raises:
            LedgerUnavailableError: No answer in time; it may have been done.
        """
        return bool(self._ask("fold", words.order_words(order), _PATIENT_SECONDS)["is_done"])

    def epoch(self) -> str | None:
        """Name the epoch that it grants in; None while it is not open.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        try:
            answer = self._ask("epoch", {})
        except LinkError as error:
            if error.is_missing:
                return None
            raise
        found: str | None = answer["epoch"]
        return found

    @property
    def place(self) -> str:
        """Where it is, without the password."""
        return repr(self._place)

    def inspect(self) -> ServerReport:
        """Ask the server how it is set up.

        Raises:
            LedgerUnavailableError: It can't be reached in time.
        """
        ends_at = time.monotonic() + _PATIENT_SECONDS
        link = self._pool.take(ends_at)
        asked_at = time.time_ns()
        try:
            answer = link.ask(QUESTION, None, ends_at)
        except BaseException:
            self._pool.drop(link)
            raise
        answered_at = time.time_ns()
        self._pool.give(link)
        said = msgspec.json.decode(answer, type=Said)
        return ServerReport(
            server=f"PostgreSQL {said.version}",
            clock_unix_ns=int(said.clock_unix_ns),
            asked_at_unix_ns=asked_at,
            answered_at_unix_ns=answered_at,
            risks=worst_first(risks_of(said)),
        )

    def open_epoch(self) -> str:
        """Make or migrate the schema, and open the authority in a new epoch. Return its name.

        Questions of others wait until it is done.

        Raises:
            LedgerUnavailableError: It can't be done, for want of a right say; nothing was done.
        """
        ends_at = time.monotonic() + _OPENING_SECONDS
        pool = self._pool
        link = pool.take(ends_at)
        try:
            name = _open(link, self._place, self._schema, ends_at)
        except BaseException:
            pool.drop(link)  # and with it the transaction
            raise
        pool.give(link)
        return name

    def close(self) -> None:
        """Let go of connections; the next question opens them again. Also in a forked child."""
        self._pool.close()

    # -- inside --

    def _ask(
        self,
        function: str,
        question: words.Words,
        seconds: float = 0.0,
        *,
        is_told_again: bool = True,
    ) -> words.Words:
        """Ask, and ask again while that may help.

        Args:
            function: Which of the database's.
            question: What it is asked.
            seconds: How long that may take, where it is more than a grant may.
            is_told_again: Asked twice, it is done once.

        Raises:
            LedgerError: There is no answer.
        """
        ends_at = time.monotonic() + max(seconds, self._timeout_seconds)
        pool = self._pool
        for tries_left in reversed(range(_TRIES)):
            link = pool.take(ends_at)
            try:
                answer = self._put(link, function, question, ends_at)
            except LinkError as error:
                (pool.drop if error.is_broken else pool.give)(link)
                may_help = error.is_passing or (error.is_broken and is_told_again)
                if not may_help or not tries_left or time.monotonic() >= ends_at:
                    raise
                time.sleep(random.random() * _PAUSE_SECONDS)  # noqa: S311 - nothing secret
            except BaseException:
                pool.drop(link)
                raise
            else:
                pool.give(link)
                return answer
        raise AssertionError  # the last try returned or raised

    def _put(self, link: Link, function: str, question: words.Words, ends_at: float) -> words.Words:
        epoch, serial, xact = self._seen
        told = {
            **question,
            "horizon": self._horizon_seconds,
            "seen_epoch": epoch,
            "serial": serial,
            "xact": xact,
            "wait": max(0.001, (ends_at - time.monotonic()) * _SERVERS_SHARE),
        }
        statement = self._schema.own(f"SELECT tollspan.{function}_v{VERSION}($1)")
        answer: words.Words = json.loads(link.ask(statement, json.dumps(told), ends_at))
        if answer.get("seen_epoch") is not None:
            seen = (answer["seen_epoch"], answer["serial"], answer["xact"])
            # Without a lock, which a fork could leave locked: at worst the older of two stays.
            self._seen = _latest(self._seen, seen)
        return answer


def _latest(one: _Seen, other: _Seen) -> _Seen:
    """Return how far the authority has counted, of two answers: in the newest epoch, the most."""
    if one[0] != other[0]:
        return max(one, other, key=lambda seen: seen[0] or "")
    return one[0], max(one[1], other[1]), max(one[2], other[2])


def _open(link: Link, place: Place, schema: Schema, ends_at: float) -> str:
    """Open a new epoch, in one transaction.

    Raises:
        LedgerUnavailableError: It can't be done.
    """

    def run(statement: str) -> str:
        return link.ask(schema.own(statement), None, ends_at)

    run("BEGIN ISOLATION LEVEL READ COMMITTED")
    run(f"SET LOCAL lock_timeout = '{int(_OPENING_SECONDS / 2)}s'")
    run(f"SELECT pg_advisory_xact_lock({OPENING_LOCK})")
    encoding = run("SHOW server_encoding")
    if encoding != "UTF8":
        raise LedgerUnavailableError(f"{place} is encoded in {encoding}; expected UTF8")
    is_there = run("SELECT to_regclass('tollspan.authority') IS NOT NULL") == "t"
    version = int(run("SELECT version FROM tollspan.authority")) if is_there else 0
    if version > VERSION:
        raise LedgerUnavailableError(
            f"{place} has format {version}, this tollspan knows only {VERSION}: upgrade it"
        )
    run(migration(version))
    now = run("SELECT trunc(extract(epoch FROM clock_timestamp())::numeric * 1000000000)")
    opened = run(f"SELECT tollspan.open_v1('{new_call_id(int(now))}')")
    run("COMMIT")
    return opened
