"""The authority over HTTP: an ingest server that holds the money of a tenant's budgets."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec

from tollspan.budget import (
    BUSY,
    MOST_AT_ONCE,
    MOST_CHARGES,
    Account,
    Balance,
    BalancesAnswer,
    BalancesQuestion,
    Busy,
    EpochAnswer,
    ExpireAnswer,
    FirstAnswer,
    FirstQuestion,
    FoldAnswer,
    FoldLook,
    FoldOrder,
    GivenBack,
    Grant,
    GrantAnswer,
    Lease,
    LeaseLostError,
    LeaseSettings,
    LifeAnswer,
    LookAnswer,
    LookQuestion,
    Refusal,
    RefusedWords,
    ResolveQuestion,
    SettleAnswer,
    Settlement,
    SettlementsRefusedError,
    Touch,
    TouchAnswer,
    Unresolved,
    UnresolvedAnswer,
    Want,
    account_words,
    fold_question,
    give_back_question,
    grant_question,
    read_grant,
    read_look,
    settle_question,
    touch_question,
)
from tollspan.ledger import ServedAuthority, ServerReport, open_authority
from tollspan.usage import ConfigError, LedgerError, LedgerUnavailableError

from ._addresses import shown
from ._silence import Silence

if TYPE_CHECKING:
    from ._http import Answer, HttpClient

_SCHEMES: Final = ("https://", "http://")
_MOST_BYTES: Final = 16 << 20
_PATIENT_SECONDS: Final = 5.0
"""How long questions may take for which no call waits."""
_MOST_SETTLED_AT_ONCE: Final = 500
_KEY: Final = "key"
"""The one question that is not about leases."""
_HEADERS: Final = {"Content-Type": "application/json"}
_DEFAULTS: Final = LeaseSettings()
_T = TypeVar("_T")


class _Told(msgspec.Struct):
    """What is wrong, as the server says it."""

    type: str = ""
    message: str = ""


class _Key(msgspec.Struct):
    scopes: tuple[str, ...] = ()


class _NotFoundError(LedgerUnavailableError):
    """The server has no such question."""


class _Problem(msgspec.Struct):
    error: _Told = msgspec.field(default_factory=_Told)


class HttpAuthority:
    """A shared authority behind an ingest server. Safe for threads; a forked child calls `close`.

    It connects with the first question. Connections are kept, and lent to one thread at a time.
    While the server does not answer at all, a few calls find that out, and the others are told.

    Args:
        url: `https://host[:port]`, the server's.
        key: The API key; its tenant's money is meant. Never shown.
        timeout_seconds: How long a grant may take.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None,
        timeout_seconds: float = _DEFAULTS.wait_seconds,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/") + "/v1/"
        self._key = key
        self._seconds = timeout_seconds
        self.place = shown(url.rstrip("/"))
        """Where it is, without secrets."""
        self._clock = clock
        self._silence = Silence(clock)
        self._lock = threading.Lock()
        self._idle: list[HttpClient] = []
        self._idle_patient: list[HttpClient] = []

    def __repr__(self) -> str:
        return f"HttpAuthority({self.place})"

    # -- leases --

    def grant(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal:
        """Grant in every account or in none.

        Raises:
            LeaseLostError: The lease is over, or the authority has lost what it knew.
            LedgerUnavailableError: No answer in time.
        """
        return read_grant(self._ask("grant", GrantAnswer, grant_question(lease, wants)))

    def grant_now(self, lease: Lease, wants: Sequence[Want]) -> Grant | Refusal | Busy:  # noqa: ARG002 - the port's
        """Return `BUSY`: a network always makes one wait."""
        return BUSY

    def give_back(self, lease: Lease, parts: Sequence[GivenBack]) -> float | None:
        """Take back what a lease does not need, and let it live on.

        Raises:
            LeaseLostError: As in `grant`.
            LedgerUnavailableError: No answer in time; tell it again.
        """
        return self._ask("give-back", LifeAnswer, give_back_question(lease, parts)).life_seconds

    # -- calls --

    def settle(self, settlements: Sequence[Settlement]) -> None:
        """Charge finished calls, each once; one round trip for five hundred of them.

        Raises:
            SettlementsRefusedError: All were charged but some, which this key may not settle.
            LedgerUnavailableError: Not all of them were charged; tell all again.
        """
        refused: list[RefusedWords] = []
        parts = [part for one in settlements for part in _parts(one)]
        for start in range(0, len(parts), _MOST_SETTLED_AT_ONCE):
            some = parts[start : start + _MOST_SETTLED_AT_ONCE]
            answer = self._ask("settle", SettleAnswer, settle_question(some), is_patient=True)
            told = {one.call_id for one in some}
            refused += [one for one in answer.refused if one.call_id in told]
        if refused:
            raise SettlementsRefusedError(
                f"{self.place} refuses {refused[0].call_id}: {refused[0].why[:300]}",
                [one.call_id for one in refused],
            )

    def check_may_credit(self) -> None:
        """See that the key may lower what is counted; a server that does not say lets any.

        Raises:
            ConfigError: It may not.
            LedgerError: No answer in time.
        """
        try:
            scopes = self._ask(_KEY, _Key, None, is_patient=True).scopes
        except _NotFoundError:
            return
        missing = [one for one in ("ingest", "admin") if one not in scopes]
        if missing:
            raise ConfigError(
                f"{self.place} lowers what is counted for an admin alone: the key of "
                f"TOLLSPAN_API_KEY may {', '.join(scopes)}, but not {' and '.join(missing)}. Set "
                "it to one of `tollspan keys create --scopes ingest,admin` for this command"
            )

    def expire(self) -> int:
        """End the leases that are over, and take for spent what is beyond the horizon.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        return self._ask("expire", ExpireAnswer, {}, is_patient=True).ended

    def unresolved(self, *, since_unix_ns: int = 0) -> tuple[Unresolved, ...]:
        """Return what ended leases leave open, oldest first; of those that ended since then.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        question = f"unresolved?since_unix_ns={max(0, since_unix_ns)}"
        return self._ask(question, UnresolvedAnswer, None, is_patient=True).values()

    def resolve(self, lease_id: str, account: Account, *, spent: int) -> None:
        """Settle by hand what an ended lease leaves open in an account: so much was spent.

        Raises:
            LedgerError: No answer in time, nothing of that is unresolved, or the key may not.
        """
        question = ResolveQuestion(
            lease_id=lease_id, account=account_words(account), spent=str(spent)
        )
        self._ask("resolve", msgspec.Raw, question, is_patient=True, may_repeat=False)

    # -- the rest --

    def touch(self, touch: Touch) -> str:
        """Note that the owner of an account is active, and name its period.

        Raises:
            LedgerUnavailableError: No answer in time, or it is not open.
        """
        return self._ask("touch", TouchAnswer, touch_question(touch)).period

    def balances(self, accounts: Sequence[Account]) -> tuple[Balance, ...]:
        """Return how accounts stand, in this order.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        found: list[Balance] = []
        for start in range(0, len(accounts), MOST_AT_ONCE):
            some = accounts[start : start + MOST_AT_ONCE]
            question = BalancesQuestion(accounts=tuple([account_words(one) for one in some]))
            answer = self._ask("balances", BalancesAnswer, question).balances
            if len(answer) != len(some):
                raise LedgerUnavailableError(f"{self.place} answers something else than was asked")
            found += [
                msgspec.structs.replace(one.value(), account=account)
                for one, account in zip(answer, some, strict=True)
            ]
        return tuple(found)

    def is_first(self, account: Account, share: Decimal) -> bool:
        """Say whether no host has told yet that an account passed a share; note that now.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        question = FirstQuestion(account=account_words(account), share=f"{share.normalize():f}")
        return self._ask("first", FirstAnswer, question, may_repeat=False).is_first

    def look(self, most: int) -> FoldLook:
        """Show accounts to whoever folds them.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        question = LookQuestion(most=min(most, MOST_AT_ONCE))
        return read_look(self._ask("look", LookAnswer, question, is_patient=True))

    def fold(self, order: FoldOrder) -> bool:
        """Fold accounts.

        Raises:
            LedgerUnavailableError: No answer in time; it may have been done.
        """
        question = fold_question(order)
        return self._ask("fold", FoldAnswer, question, is_patient=True, may_repeat=False).is_done

    def epoch(self) -> str | None:
        """Name the epoch that it grants in; None while it is not open.

        Raises:
            LedgerUnavailableError: No answer in time.
        """
        return self._ask("epoch", EpochAnswer, None).epoch

    def prepare(self) -> None:
        """Load the HTTP client and connect, so that the first call need not wait for that.

        The authority of a new tenant is opened meanwhile. Where that fails, calls find out.
        """
        with contextlib.suppress(LedgerError):
            for is_patient in (True, False):  # each has connections of its own
                self._ask("epoch", EpochAnswer, None, is_patient=is_patient)

    def open_epoch(self) -> str:
        """Open it in a new epoch; the key must be an administrator's. Return its name.

        Raises:
            LedgerError: It can't be opened, or the key may not.
        """
        opened = self._ask("epoch", EpochAnswer, {}, is_patient=True, may_repeat=False).epoch
        if opened is None:
            raise LedgerUnavailableError(f"{self.place} did not open the authority")
        return opened

    def inspect(self) -> ServerReport:
        """Ask the server who it is, and what time.

        Raises:
            LedgerUnavailableError: It can't be reached.
        """
        asked_at = time.time_ns()
        said = self._ask("epoch", EpochAnswer, None, is_patient=True)
        answered_at = time.time_ns()
        return ServerReport(
            server="an ingest server",
            clock_unix_ns=int(said.clock_unix_ns),
            asked_at_unix_ns=asked_at,
            answered_at_unix_ns=answered_at,
            risks=(),
        )

    def close(self) -> None:
        """Let go of connections; the next question opens them again. Also in a forked child."""
        self._lock = threading.Lock()
        self._silence = Silence(self._clock)
        idle = [*self._idle, *self._idle_patient]
        self._idle, self._idle_patient = [], []
        for client in idle:
            client.close()

    # -- inside --

    def _ask(
        self,
        name: str,
        kind: type[_T],
        question: object,
        *,
        is_patient: bool = False,
        may_repeat: bool = True,
    ) -> _T:
        """Ask, and read the answer.

        Args:
            name: Which question.
            kind: What is answered.
            question: What is sent; None to get something.
            is_patient: No call waits for it.
            may_repeat: Asked twice, it is done once: it is, where a connection broke.

        Raises:
            LedgerError: There is no answer, or it refuses.
        """
        answer = self._answer(name, question, is_patient=is_patient, may_repeat=may_repeat)
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise LedgerUnavailableError(
                f"{self.place} answers what can't be read ({error})"
            ) from None

    def _answer(self, name: str, question: object, *, is_patient: bool, may_repeat: bool) -> Answer:
        from ._http import HttpError  # noqa: PLC0415 - only who has such an authority pays

        body = None if question is None else msgspec.json.encode(question)
        if not is_patient and not self._silence.may_ask():
            raise LedgerUnavailableError(f"{self.place} did not answer just now, and is asked soon")
        try:
            answer = self._send(name, body, is_patient=is_patient)
        except HttpError as error:
            if error.kind == "timeout" and not is_patient:
                self._silence.unheard()
            if error.kind != "unreachable" or not may_repeat:
                raise LedgerUnavailableError(f"{self.place} can't be used: {error}") from None
            try:  # the connection broke, as each does when a server starts anew
                answer = self._send(name, body, is_patient=is_patient)
            except HttpError as again:
                raise LedgerUnavailableError(f"{self.place} can't be used: {again}") from None
        self._silence.heard()
        if answer.status != 200:
            raise self._refused(answer)
        return answer

    def _send(self, name: str, body: bytes | None, *, is_patient: bool) -> Answer:
        from ._http import HttpClient  # noqa: PLC0415 - as above

        idle = self._idle_patient if is_patient else self._idle
        with self._lock:
            client = idle.pop() if idle else None
        if client is None:
            seconds = max(self._seconds, _PATIENT_SECONDS) if is_patient else self._seconds
            client = HttpClient(self._key, timeout_seconds=seconds, most_bytes=_MOST_BYTES)
        try:
            if body is None:
                answer = client.get(self._address(name), {})
            else:
                answer = client.post(self._address(name), _HEADERS, body)
        except BaseException:
            client.close()
            raise
        idle.append(client)
        return answer

    def _address(self, name: str) -> str:
        return self._url + (_KEY if name == _KEY else f"leases/{name}")

    def _refused(self, answer: Answer) -> LedgerError:
        try:
            told = msgspec.json.decode(answer.body, type=_Problem).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            told = _Told(message="something that can't be read")
        if told.type == "lease_lost":
            return LeaseLostError(told.message)
        text = f"{self.place} answers {answer.status}: {told.message[:300]}"
        if answer.status == 404:
            return _NotFoundError(
                f"{self.place} has no /v1/leases, so it can't hold budgets: it is too old, or no "
                "ingest server"
            )
        if answer.status in (401, 403):
            text += " (the key is TOLLSPAN_API_KEY)"
        return LedgerError(text) if answer.status == 409 else LedgerUnavailableError(text)


def _parts(one: Settlement) -> Sequence[Settlement]:
    """Take apart what has more charges than one question may; told again, it has the same parts."""
    if len(one.charges) <= MOST_CHARGES:
        return (one,)
    return [
        msgspec.structs.replace(
            one,
            call_id=f"{one.call_id}~{start}" if start else one.call_id,
            charges=one.charges[start : start + MOST_CHARGES],
        )
        for start in range(0, len(one.charges), MOST_CHARGES)
    ]


def authority_at(url: str, settings: LeaseSettings, *, key: str | None) -> ServedAuthority:
    """Return the shared authority at an address; it connects when it is first asked.

    Args:
        url: `https://…` of an ingest server, or any that `open_authority` takes.
        settings: How long a grant may take.
        key: The API key for an ingest server.

    Raises:
        ConfigError: The address is none that is known, its driver is missing, or so is the key.
    """
    if not url.startswith(_SCHEMES):
        return open_authority(url, settings)
    if key is None:
        raise ConfigError(
            f"the authority {shown(url)} needs a key of its server: set TOLLSPAN_API_KEY"
        )
    return HttpAuthority(url, key=key, timeout_seconds=settings.wait_seconds)
