"""Defects of jobs and of operators' postings that the simulation of a host must find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tollspan.budget import DeferredHold
from tollspan.budget.escrow import Escrow
from tollspan.ledger import _jobs, _schema
from tollspan.ledger._session import Session

Mutation = Callable[[pytest.MonkeyPatch], None]


def changed(text: str, old: str, new: str) -> str:
    """Change a statement; one that has changed meanwhile is no mutation any more."""
    assert old in text, f"{old!r} is not in the statement"
    return text.replace(old, new)


def in_a_trigger(old: str, new: str) -> Mutation:
    """Change the triggers of files that are made from now on."""

    def mutate(patch: pytest.MonkeyPatch) -> None:
        triggers = "\x00".join(_schema._TRIGGERS)
        patch.setattr(_schema, "_TRIGGERS", tuple(changed(triggers, old, new).split("\x00")))

    return mutate


def asked_afterwards_whether_it_is_kept(patch: pytest.MonkeyPatch) -> None:
    """A job whose end was told at once is taken for one that was never kept."""
    real = _jobs._insert

    def insert(session: Session, deferred: DeferredHold, *about: Any) -> bool:
        real(session, deferred, *about)
        query = "SELECT 1 FROM jobs WHERE call_id = ?"
        return session.connection.execute(query, (deferred.call.id,)).fetchone() is not None

    patch.setattr(_jobs, "_insert", insert)


def a_job_returns_to_its_lease(patch: pytest.MonkeyPatch) -> None:
    """What a call held is the lease's again, though its job has it."""
    patch.setattr(Escrow, "leave", lambda self, call_id: self.settle(call_id))


def what_is_given_up_is_free(patch: pytest.MonkeyPatch) -> None:
    """Nothing is held any more for a job whose end nobody has seen."""

    def give_up(session: Session, before_unix_ns: int) -> list[Any]:
        session.connection.execute(
            "DELETE FROM holds WHERE state = 2 AND call_id IN"
            " (SELECT call_id FROM jobs WHERE deferred_at_unix_ns < ?)",
            (before_unix_ns,),
        )
        return []

    patch.setattr(_jobs, "give_up", give_up)


def an_operator_comes_too_late(patch: pytest.MonkeyPatch) -> None:
    """What an operator says of a job counts, though its end was told meanwhile."""
    patch.setattr(_jobs, "settle_by_hand", Session.adjust)


_BY_HAND = """    DELETE FROM {table} WHERE new.kind = 'adjustment'
        AND call_id = json_extract(CAST(new.data AS TEXT), '$.call_id');
"""
JOB_MUTATIONS: dict[str, Mutation] = {
    "a job dies with its process": in_a_trigger("SET state = 2, owner = ''", "SET state = 0"),
    "a job is its lease's too": in_a_trigger(
        "max(0, holds.amount - json_extract(leg.value, '$[4]'))", "holds.amount"
    ),
    "a leased call's job holds nothing": in_a_trigger(
        "json_extract(leg.value, '$[4]'), '', new.started", "0, '', new.started"
    ),
    "a call that has ended is a job again": in_a_trigger(
        " AND NOT EXISTS (SELECT 1 FROM events WHERE id = new.call_id)\n", "\n"
    ),
    "an event leaves its job": in_a_trigger("DELETE FROM jobs WHERE call_id = new.id;", ""),
    "what is settled by hand stays held": in_a_trigger(_BY_HAND.format(table="holds"), ""),
    "what is resolved by hand stays a job": in_a_trigger(
        "'$.lease_id') -- given up, then settled", "'$.call_id')"
    ),
    "a job is not held in the sums": in_a_trigger(
        "held = held + new.amount * (new.state <> 1),",
        "held = held + new.amount * (new.state = 0),",
    ),
    "a credit counts for nothing": in_a_trigger(
        "min(coalesce(json_extract(value, '$.posted'), 0), 1 << 60),\n           min(",
        "max(0, coalesce(json_extract(value, '$.posted'), 0)),\n           min(",
    ),
    **{
        one.__name__.replace("_", " "): one
        for one in (
            asked_afterwards_whether_it_is_kept,
            a_job_returns_to_its_lease,
            what_is_given_up_is_free,
            an_operator_comes_too_late,
        )
    },
}
