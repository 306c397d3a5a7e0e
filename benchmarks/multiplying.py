"""Makes many events of some, in SQL: each is copied, and the sums grow as often.

A copy has an id of its own and is a few nanoseconds later, so in its original's hour and day. It
brings no new values and no new combination of them: what grows with those does not grow here.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from tollspan.ledger.central.measures import MEASURES
from tollspan.ledger.central.opening import Database
from tollspan.ledger.central.tables import EVENTS

_SLICES: Final = 300
_SINCE: Final = "SELECT min(time_ns), max(time_ns) FROM events"


def multiply(where: str, times: int) -> None:
    """Have books hold so many times the events that they hold."""
    database = Database(where)
    names = [f'"{name}"' for name in EVENTS.columns.keys()]  # noqa: SIM118 - of columns, not their names
    said = [_copied(name) for name in names]
    copies = (
        "generate_series(1, :last) AS copies(k)"
        if database.is_postgresql
        else "(WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < :last)"
        " SELECT k FROM n) AS copies"
    )
    copying = text(
        f"INSERT INTO events ({', '.join(names)})"
        f" SELECT {', '.join(said)} FROM events CROSS JOIN {copies}"
        " WHERE time_ns >= :since AND time_ns < :until AND tenant = :tenant"
    )
    with database.reading() as connection:
        first, last = connection.execute(text(_SINCE)).one()
        tenants = connection.execute(text("SELECT name FROM tenants")).scalars().all()
    step = (last - first) // _SLICES + 1
    for since in range(first, last + 1, step):
        for tenant in tenants:
            with database.writing() as connection:
                span = {"since": since, "until": since + step, "tenant": tenant}
                connection.execute(copying, {**span, "last": times - 1})
    sums = ", ".join(f'"{name}" = "{name}" * {times}' for name in MEASURES)
    with database.writing() as connection:
        connection.execute(text(f"UPDATE sums SET {sums}"))
        connection.execute(text(f"UPDATE sum_quantities SET amount = amount * {times:d}"))
    database.close()


def _copied(name: str) -> str:
    return {'"time_ns"': "time_ns + k", '"id"': "id || '-' || k"}.get(name, name)
