"""How fast money goes, and where that leads by the month's end. Whole numbers throughout."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from tollspan.ledger.central import CentralLedger, UsageQuery

from .ranges import month_end

_LOOKED_AT: Final = timedelta(days=7)
_HOUR: Final = timedelta(hours=1)
_NS: Final = 10**9


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What was spent, and what will be if it goes on so.

    Attributes:
        today_nanousd, month_nanousd: Since the day, and the month, began.
        recent_nanousd: Within the time that is looked at.
        recent_seconds: How long that is: seven days, or since the first call in them.
        hour_nanousd: Within the last 60 to 120 minutes, by whole hours.
        forecast_nanousd: The month's sum at its end, at the recent pace; None without one.
    """

    today_nanousd: int
    month_nanousd: int
    recent_nanousd: int
    recent_seconds: int
    hour_nanousd: int
    forecast_nanousd: int | None

    @property
    def day_nanousd(self) -> int | None:
        """What a day costs at this pace; None where nothing is known of it."""
        if not self.recent_seconds:
            return None
        return self.recent_nanousd * 86_400 // self.recent_seconds

    def seconds_for(self, nanousd: int) -> int | None:
        """Return how long an amount lasts; None for ever, as far as is known."""
        if self.recent_nanousd <= 0:
            return None
        return max(0, nanousd) * self.recent_seconds // self.recent_nanousd


def pace_of(
    ledger: CentralLedger,
    tenant: str,
    now: datetime,
    where: Mapping[str, str | None] | None = None,
) -> Pace:
    """Return a tenant's pace at a time, by the sums of whole hours that are kept."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    today = hour.replace(hour=0)
    month = today.replace(day=1)
    recent = _by_hour(ledger, tenant, hour - _LOOKED_AT, where or {})
    spent = sum(recent.values())
    seconds = 0
    if recent:
        # Less than an hour of calls is no pace: one dear call would become a fortune a month.
        seconds = max(int(now.timestamp()) - min(recent) // _NS, 3_600)
    so_far = _since(ledger, tenant, month, where or {})
    left = int((month_end(now) - now).total_seconds())
    return Pace(
        today_nanousd=sum(cost for at, cost in recent.items() if at >= _unix_ns(today)),
        month_nanousd=so_far, recent_nanousd=spent, recent_seconds=seconds,
        hour_nanousd=sum(cost for at, cost in recent.items() if at >= _unix_ns(hour - _HOUR)),
        forecast_nanousd=so_far + spent * left // seconds if seconds else None,
    )  # fmt: skip


def _by_hour(
    ledger: CentralLedger, tenant: str, since: datetime, where: Mapping[str, str | None]
) -> dict[int, int]:
    query = UsageQuery(since_unix_ns=_unix_ns(since), bucket="hour", where=where)
    rows = ledger.usage.usage(tenant, query).rows
    return {row.start_unix_ns or 0: row.sums.cost_nanousd for row in rows}


def _since(
    ledger: CentralLedger, tenant: str, since: datetime, where: Mapping[str, str | None]
) -> int:
    rows = ledger.usage.usage(tenant, UsageQuery(since_unix_ns=_unix_ns(since), where=where)).rows
    return rows[0].sums.cost_nanousd if rows else 0


def _unix_ns(moment: datetime) -> int:
    return int(moment.timestamp()) * _NS
