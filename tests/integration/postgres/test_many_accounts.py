"""What a call asks of PostgreSQL finds its accounts by their keys, however many there are."""

from __future__ import annotations

import time

import psycopg
import pytest

from tests.contract.authority.making import Holder, settlement, want
from tollspan.budget import Account
from tollspan.ledger import PostgresAuthority

pytestmark = pytest.mark.service
ACCOUNTS = 4_000
PARTS = 2_000
"""So many that looking for a hundred by their keys would take longer than reading them all."""


def session(number: int) -> Account:
    scope = f'{{"session":"{number}"}}'
    return Account(budget_id="session", scope=scope, period="2023-01-05", limit=1 << 40)


def rows_read_in_a_row(url: str, table: str) -> int:
    """Return how many rows were read by going through a table, once that is told."""
    with psycopg.connect(url) as connection:
        asked = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = %s"
        found = -1
        for _ in range(50):  # what a session counted is told at its end, soon
            row = connection.execute(asked, (table,)).fetchone()
            assert row is not None
            if row[0] == found:
                break
            found = row[0]
            time.sleep(0.2)
        return found


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_calls_read_no_account_that_is_not_theirs(postgres_url: str, is_analyzed: bool) -> None:
    authority = PostgresAuthority(postgres_url, timeout_seconds=5.0)
    authority.open_epoch()
    for first in range(0, ACCOUNTS, 500):
        some = [(session(number), 1, 0) for number in range(first, first + 500)]
        authority.settle([settlement(None, *some)])
    holder = Holder(authority)
    for first in range(0, PARTS, 500):
        wants = [want(session(number), 10, 40) for number in range(first, first + 500)]
        holder.hears(holder.sends(*wants))
    authority.close()
    if is_analyzed:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
    before = {one: rows_read_in_a_row(postgres_url, one) for one in ("accounts", "parts")}
    for number in range(50):
        one = session(PARTS + number)
        holder.has(one, 10, 40)
        holder.spends(one, 8)
        holder.gives(one, 2)
        authority.balances([one])
    authority.close()
    after = {one: rows_read_in_a_row(postgres_url, one) for one in ("accounts", "parts")}
    assert after == before
