"""The Redis authority: accounts and leases of many hosts in one Redis or Valkey, 6 or newer.

Each question is one script on the server: it happens whole or not at all, in one round trip. All
keys begin with one hash tag, by which a cluster keeps them in one slot. The scripts, and what
they keep, are in `redis_scripts/`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from copy import copy
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from tollspan.budget import (
    BUSY,
    ROOM_SHARE,
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
    read_number,
)
from tollspan.usage import ConfigError, LedgerError, LedgerUnavailableError, new_call_id

from . import _redis_words as words_of
from ._redis_place import RedisPlace, read_redis_url
from ._redis_words import Answer, Word
from .inspecting import ServerReport

if TYPE_CHECKING:
    from ._redis_driver import RedisDriver

_DEFAULTS: Final = LeaseSettings()
_MEMORY_SECONDS: Final = 35 * 86_400
"""So long after the horizon, calls that were settled and leases that ended are known."""
_MOST_SETTLED_AT_ONCE: Final = 500
_MOST_ENDED_AT_ONCE: Final = 20
_PARTS_A_PAGE: Final = 500


def _driver(place: RedisPlace) -> type[RedisDriver]:
    """Load the client library, which only those need who have a Redis.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        from ._redis_driver import RedisDriver  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"{place.shown} needs a client: pip install 'tollspan[redis]' ({error})"
        ) from error
    return RedisDriver


class RedisAuthority:
    """A shared authority in a Redis. Safe for threads; a forked child calls `close`.

    It connects with the first question.

    Args:
        url: `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, or
            `unix:///path/to/socket?db=0`; `?name=` where one Redis has several authorities.
        life_seconds: How long a lease lives, unless it is renewed.
        horizon_seconds: When what an ended lease leaves open is taken for spent.
        timeout_seconds: How long to wait for a connection, and for an answer.
        clock: Unix time in milliseconds; None for the server's own, by which all hosts go.
        tenant: Whose accounts these are, beside those of others; None for nobody's in particular.

    Raises:
        ConfigError: The URL can't be meant so, or the client library is missing.
    """

    def __init__(
        self,
        url: str,
        *,
        life_seconds: float = _DEFAULTS.life_seconds,
        horizon_seconds: float = _DEFAULTS.horizon_seconds,
        timeout_seconds: float = _DEFAULTS.wait_seconds,
        clock: Callable[[], int] | None = None,
        tenant: str | None = None,
    ) -> None:
        self._place = read_redis_url(url)
        if tenant is not None:  # no name in a URL has a colon
            name = f"{self._place.name}:{tenant}"
            self._place = msgspec.structs.replace(self._place, name=name)
        self._life_seconds = life_seconds
        self._milliseconds = [
            int(one * 1_000) for one in (horizon_seconds, _MEMORY_SECONDS, life_seconds)
        ]
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._connect = _driver(self._place)
        self._driver: RedisDriver | None = None
        self._lock = threading.Lock()
        self._lender: RedisAuthority | None = None
        """Whose connections it uses; None for its own."""
        self._seen = ("", 0)

    def lasting(self, life_seconds: float) -> RedisAuthority:
        """Return the same authority over the same connections, for leases that live so long."""
        other = copy(self)
        other._life_seconds = life_seconds  # noqa: SLF001 - a copy of this
        other._milliseconds = [*self._milliseconds[:2], int(life_seconds * 1_000)]  # noqa: SLF001 - a copy of this
        other._lender = self  # noqa: SLF001 - a copy of this
        return other

    # -- leases --

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none."""
        answer = self._run("grant", [ROOM_SHARE, *words_of.lease(lease), *words_of.wants(wants)])
        self._check(answer, lease)
        if answer.status == "refused":
            return words_of.refusal(wants, answer.words, is_held=False)
        number, *rest = answer.words
        totals, short = rest[: len(wants)], rest[len(wants) :]
        return Grant(
            totals=tuple([int(one) for one in totals]),
            life_seconds=self._life_seconds,
            short=words_of.refusal(wants, short, is_held=True) if short else None,
            epoch=answer.epoch,
            number=int(number),
        )

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:  # noqa: ARG002 - the port's
        """Say that it would have to wait: for the network."""
        return BUSY

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        """Take back what a lease does not need, and let it live on."""
        answer = self._run("give_back", [*words_of.lease(lease), *words_of.parts(parts)])
        self._check(answer, lease)
        return self._life_seconds

    def _check(self, answer: Answer, lease: Lease) -> None:
        """See that the authority is open, and the lease lives.

        Raises:
            LeaseLostError, LedgerUnavailableError: It isn't; it doesn't.
        """
        if answer.status == "lost":
            raise LeaseLostError(f"{self._place.shown} has lease {lease.id} no more: {answer.why}")
        if answer.status == "closed":
            raise self._not_open()

    def _not_open(self) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"{self._place.shown} is not open: it is new, or has lost what it knew; settle what"
            f" was lost anew, then run `tollspan authority open {self._place.shown}`"
        )

    # -- ends of leases --

    def expire(self) -> int:
        """End the leases that are over, and take for spent what is beyond the horizon."""
        ended = 0
        while True:
            answer = self._run("expire", [_MOST_ENDED_AT_ONCE])
            some, is_more = answer.words
            ended += int(some)
            if is_more == "0":
                return ended

    def unresolved(self, *, since_unix_ns: int = 0) -> tuple[Unresolved, ...]:
        """Return what ended leases leave open, oldest first; many questions, so not all at once.

        Those that ended since then are found by when they are taken for spent, that is by this
        client's horizon.
        """
        found: list[Unresolved] = []
        horizon_ms = self._milliseconds[0]
        due_ms = since_unix_ns // 1_000_000 + horizon_ms if since_unix_ns else 0
        for lease_id in self._texts("ZRANGEBYSCORE", self._key("ended"), due_ms, "+inf"):
            found += self._left_by(lease_id)
        since = [one for one in found if one.since_unix_ns >= since_unix_ns]
        return tuple(sorted(since, key=lambda one: one.since_unix_ns))

    def _left_by(self, lease_id: str) -> list[Unresolved]:
        key = self._key("lease", lease_id)
        fields: dict[str, str] = {}
        cursor = "0"
        while True:
            cursor, page = self._page("HSCAN", key, cursor, "COUNT", _PARTS_A_PAGE)
            fields.update(zip(page[::2], page[1::2], strict=True))
            if cursor == "0":
                return words_of.unresolved(lease_id, fields)

    def resolve(self, lease_id: str, account: Account, *, spent: int) -> None:
        """Settle by hand what an ended lease leaves open in an account."""
        words: list[Word] = [lease_id, words_of.name(account), spent]
        if self._run("resolve", words, may_repeat=False).status == "unknown":
            raise LedgerError(f"lease {lease_id} leaves nothing unresolved in that account")

    # -- calls --

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Charge finished calls, each once; in one round trip for each 500."""
        for first in range(0, len(settlements), _MOST_SETTLED_AT_ONCE):
            some = settlements[first : first + _MOST_SETTLED_AT_ONCE]
            self._run("settle", words_of.settlements(some))

    # -- the rest --

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, and name its period."""
        answer = self._run("touch", words_of.touch(touch))
        if answer.status == "closed":
            raise self._not_open()
        return answer.words[0]

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand."""
        answer = self._run("balances", [words_of.name(account) for account in accounts])
        return words_of.balances(accounts, answer.words)

    def known_leases(self, lease_ids: Collection[str]) -> frozenset[str]:
        """Return which of these leases it granted; a question for each."""
        ask = self._driven().command
        return frozenset(
            [one for one in lease_ids if ask("EXISTS", self._key("lease", one), may_repeat=True)]
        )

    def accounts(self, cursor: str, most: int) -> AccountPage:
        """Show accounts; of a Redis with much else in it, fewer at once."""
        return words_of.accounts(self._run("accounts", [read_number(cursor), most]))

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether no host has told yet that an account passed a share; note that now."""
        key = self._key("account", words_of.name(account))
        words = ("HSETNX", key, f"told:{share.normalize():f}", "")
        return self._driven().command(*words, may_repeat=False) == 1

    def look(self, most: int) -> FoldLook:
        """Show accounts to whoever folds them; of a Redis with much else in it, less at once."""
        return words_of.look(self._run("look", [most]))

    def fold(self, order: FoldOrder) -> bool:
        """Fold accounts."""
        return self._run("fold", words_of.order(order), may_repeat=False).status == "folded"

    def epoch(self) -> str | None:
        """Name the epoch that it grants in; None while it is not open."""
        found = self._driven().command("HGET", self._key("meta"), "epoch", may_repeat=True)
        return found.decode() if isinstance(found, bytes) else None

    @property
    def place(self) -> str:
        """Where it is, without the password."""
        return self._place.shown

    def inspect(self) -> ServerReport:
        """Ask the server how it is set up.

        Raises:
            LedgerUnavailableError: It can't be reached, or does not say.
        """
        return self._driven().inspect()

    def open_epoch(self) -> str:
        """Open it in a new epoch, and end the leases of older ones.

        Raises:
            LedgerError: The server can't answer, is too old, or may throw keys away.
        """
        self._driven().check_server()
        opened = self._run("open", [new_call_id()], may_repeat=False).epoch
        self.expire()
        return opened

    def close(self) -> None:
        """Let go of connections; the next question opens them again. Also in a forked child."""
        driver, self._driver = self._driver, None
        self._lock = threading.Lock()
        if driver is not None:
            driver.close()

    # -- inside --

    def _key(self, *words: str) -> str:
        return self._place.tag + ":".join(words)

    def _driven(self) -> RedisDriver:
        """Return the connections to ask on."""
        lender = self._lender or self
        with lender._lock:  # noqa: SLF001 - another of this kind
            if lender._driver is None:  # noqa: SLF001
                lender._driver = self._connect(self._place, self._timeout_seconds)  # noqa: SLF001
            return lender._driver  # noqa: SLF001

    def _run(self, script: str, words: Sequence[Word], *, may_repeat: bool = True) -> Answer:
        """Run a script, and remember the state that its answer is of."""
        now = "" if self._clock is None else self._clock()
        head = (now, *self._seen, *self._milliseconds)
        found = self._driven().run(script, *head, *words, may_repeat=may_repeat)
        answer = words_of.answer(found)
        with self._lock:
            if answer.epoch:
                self._seen = max(self._seen, (answer.epoch, answer.serial))
        return answer

    def _texts(self, *words: Word) -> list[str]:
        return words_of.texts(self._driven().command(*words, may_repeat=True))

    def _page(self, *words: Word) -> tuple[str, list[str]]:
        """Return the next cursor of a scan, and what it found."""
        return words_of.page(self._driven().command(*words, may_repeat=True))
