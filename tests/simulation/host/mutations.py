"""Defects that the simulation of a host must find: the real code with one thing wrong in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.simulation.host.job_mutations import (
    JOB_MUTATIONS,
    Mutation,
    changed,
    in_a_trigger,
)
from tests.simulation.mutations import fork_keeps_the_lease
from tollspan.budget import ROOM_SHARE, GivenBack, Lease
from tollspan.ledger import SQLiteLedger, _rescue, _session
from tollspan.ledger import sqlite as ledger_module
from tollspan.ledger._rescue import Rescue
from tollspan.ledger._session import Session
from tollspan.ledger._work import PostWork
from tollspan.usage import Event, LedgerError


def in_hold_one(old: str, new: str) -> Mutation:
    """Change the statement that holds in one account."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(_session, "_HOLD_ONE", changed(_session._HOLD_ONE, old, new))

    return mutate


def in_hold_all(old: str, new: str) -> Mutation:
    """Change the statement that holds in several accounts."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        text = changed(_session._HOLD_ALL, old, new)

        def hold_all(count: int) -> str:
            return text.format(legs=", ".join(["(?, ?, ?)"] * count), count=count)

        patch.setattr(_session, "_hold_all", hold_all)

    return mutate


def in_grant(old: str, new: str) -> Mutation:
    """Change the statement that grants."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        text = changed(_session._GRANT, old, new)

        def grant_all(count: int) -> str:
            legs = ", ".join(["(?, ?, ?, ?)"] * count)
            return text.format(legs=legs, count=count, share=ROOM_SHARE)

        patch.setattr(_session, "_grant_all", grant_all)

    return mutate


def stored_twice(patch: pytest.MonkeyPatch) -> None:
    """An event that is stored again takes the place of the first, and is charged again."""
    text = changed(_session._INSERT_EVENT, "INSERT INTO", "INSERT OR REPLACE INTO")
    text = changed(text, " ON CONFLICT (id) DO NOTHING", "")
    patch.setattr(_session, "_INSERT_EVENT", text)


def given_back_in_pieces(patch: pytest.MonkeyPatch) -> None:
    """What goes back goes account by account: told in part, it is told again."""

    def give_back(self: SQLiteLedger, lease: Lease, parts: Sequence[GivenBack]) -> None:
        for part in parts:
            self._run(ledger_module._give_back_in, (lease, [part]), self._post_wait_seconds)

    patch.setattr(SQLiteLedger, "give_back", give_back)


def all_goes_back(patch: pytest.MonkeyPatch) -> None:
    """When something goes back, everything does, what calls hold too."""
    text = changed(_session._GIVE_BACK, "max(0, holds.amount - json_extract(value, '$[2]'))", "0")
    patch.setattr(_session, "_GIVE_BACK", text)


def the_living_are_buried(patch: pytest.MonkeyPatch) -> None:
    """Whoever holds something is taken for dead."""
    patch.setattr(ledger_module, "is_alive", lambda home, name: False)


def the_dead_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    """What a dead process held is free."""

    def orphan(self: Session, owner: str) -> int:
        self._execute("DELETE FROM holds WHERE owner = ? AND state = 0", (owner,))
        return 0

    patch.setattr(Session, "orphan", orphan)


def fork_keeps_the_name(patch: pytest.MonkeyPatch) -> None:
    """A forked child holds under its parent's name."""
    real = SQLiteLedger.after_fork_in_child

    def after_fork_in_child(self: SQLiteLedger) -> None:
        owner = self._owner
        self._owner = None
        real(self)
        self._owner = owner

    patch.setattr(SQLiteLedger, "after_fork_in_child", after_fork_in_child)


def a_locked_file_loses_events(patch: pytest.MonkeyPatch) -> None:
    """An event that the writer can't store is gone."""

    def failed(self: PostWork, error: LedgerError) -> None:
        self.done()

    patch.setattr(PostWork, "failed", failed)


def rescued_only_once(patch: pytest.MonkeyPatch) -> None:
    """What was put aside goes before it is stored."""

    def hand_over_file(self: Rescue, claimed: Path, store: Callable[[list[Event]], None]) -> int:
        events, _ = _rescue._read(claimed)
        claimed.unlink()
        store(events)
        return len(events)

    patch.setattr(Rescue, "_hand_over_file", hand_over_file)


def soft_lifts_hard(patch: pytest.MonkeyPatch) -> None:
    """Where a soft account is short, hard ones don't count."""

    def past_soft(self: Session, legs: tuple[Any, ...]) -> tuple[Any, ...]:
        lifted: list[Any] = []
        for account, amount in legs:
            open_ended = msgspec.structs.replace(account, limit=_session._NO_LIMIT)
            self._ids[open_ended] = self._ids.get(account) or self._register(account)
            lifted.append((open_ended, amount))
        return tuple(lifted)

    patch.setattr(Session, "_past_soft", past_soft)


def busy_is_done(patch: pytest.MonkeyPatch) -> None:
    """An event that finds the file taken is taken for stored."""
    real = Session.post

    def post(self: Session, event: Any) -> None:
        try:
            real(self, event)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise

    patch.setattr(Session, "post", post)


_LEASED = """'"lease_id":"'"""
MUTATIONS: dict[str, Mutation] = {
    **JOB_MUTATIONS,
    "one hold is one too many": in_hold_one("+ ?2 <= ?3 OR", "+ ?2 <= ?3 + 1 OR"),
    "linked holds are one too many": in_hold_all("<= legs.most", "<= legs.most + 1"),
    "not all or none": in_hold_all("{count} = (SELECT", "0 < (SELECT"),
    "unresolved is free for one hold": in_hold_one("+ held + unresolved +", "+ held +"),
    "unresolved is free for linked holds": in_hold_all("+ held + unresolved +", "+ held +"),
    "held is free for linked holds": in_hold_all("+ held + unresolved +", "+ unresolved +"),
    "a wish is granted whatever there is": in_grant("min(wish, room / {share})", "wish"),
    "a grant is one too many": in_grant("need <= room AND", "need <= room + 1 AND"),
    "grants are not all or none": in_grant("{count} = (SELECT", "0 < (SELECT"),
    "a grant takes the place of the last": in_grant("amount + excluded.amount", "excluded.amount"),
    "a grant is told twice as large": in_grant(
        "granted + excluded.granted", "granted + 2 * excluded.granted"
    ),
    "what is held is not counted": in_a_trigger("held + new.amount * (new.state <> 1),", "held,"),
    "what is settled stays held": in_a_trigger("held - old.amount * (old.state <> 1),", "held,"),
    "what the dead held is free": in_a_trigger(
        "unresolved = unresolved + old.amount\n", "most = most\n"
    ),
    "a change of a hold is not counted": in_a_trigger(
        "held = held + (new.amount - old.amount) * (new.state <> 1)", "held = held"
    ),
    "an empty row stays": in_a_trigger("(new.state = 1 OR new.granted = 0)", "new.state = 1"),
    "an event leaves its hold": in_a_trigger("DELETE FROM holds WHERE call_id = new.id;", ""),
    "an event leaves its lease": in_a_trigger(_LEASED, """'"nothing":"'"""),
    "an event goes wholly out of its lease": in_a_trigger(
        "json_extract(value, '$.drawn'),", "NULL,"
    ),
    "an event takes all of its lease": in_a_trigger("max(0, holds.amount - spent.amount)", "0"),
    "what may have been spent is not counted": in_a_trigger(
        "min(coalesce(json_extract(value, '$.unresolved'), 0), 1 << 60)", "0"
    ),
    **{
        one.__name__.replace("_", " "): one
        for one in (
            stored_twice,
            given_back_in_pieces,
            all_goes_back,
            the_living_are_buried,
            the_dead_are_forgotten,
            fork_keeps_the_name,
            fork_keeps_the_lease,
            a_locked_file_loses_events,
            rescued_only_once,
            soft_lifts_hard,
            busy_is_done,
        )
    },
}
FOUND_BY: dict[str, int] = {
    "one hold is one too many": 169,
    "linked holds are one too many": 13,
    "a wish is granted whatever there is": 104,
    "a grant is one too many": 9,
    "grants are not all or none": 9,
    "a locked file loses events": 14,
}
"""Seeds that found some of them, where those from 0 on take long; they change with the hosts."""
_OF_JOBS: dict[str, object] = {
    "pauses": 0.4, "jobs": 0.4, "leases": "always", "rate": 16.0, "calls_that_fit": 300,
}  # fmt: skip
SUITED: dict[str, dict[str, object]] = {
    "a call that has ended is a job again": _OF_JOBS,
    "asked afterwards whether it is kept": _OF_JOBS,
    "an operator comes too late": {
        "pauses": 0.4, "jobs": 0.4, "operators": 8.0, "rate": 16.0, "calls_that_fit": 300,
        "locks": 0.0, "crashes": 0.0, "disks": 0.0, "job_horizon_seconds": 1e6,
    },
    "soft lifts hard": {
        "pauses": 0.4, "calls_that_fit": 5, "rate": 16.0, "processes": 4, "leases": "never",
        "changes": 0.5, "locks": 0.0, "crashes": 0.0,
    },
    "given back in pieces": {
        "pauses": 0.4, "locks": 12.0, "leases": "always", "calls_that_fit": 20_000, "processes": 2,
        "disks": 0.0,
    },
}  # fmt: skip
"""What is the same in all plans that some are looked for in, which few hosts would find."""
