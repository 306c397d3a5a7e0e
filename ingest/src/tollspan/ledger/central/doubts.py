"""What may be doubted of events, as questions to the database that an index answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from sqlalchemy import ColumnElement, TextClause

from .rows import ADJUSTMENT, DECISION, LATE, REVERSAL, SUSPECTED
from .tables import EVENTS, IS_DOUBTFUL

Doubt = Literal["unpriced", "unknown", "estimated", "late", "suspected_duplicate", "taken_back"]
"""A price is missing; the usage is unknown, or estimated; it came long after it began; it may be
counted already; it is what takes an event back."""
_C: Final = EVENTS.c
_IS_CALL: Final = _C.kind.not_in((ADJUSTMENT, DECISION, REVERSAL))
_CONDITIONS: Final[Mapping[Doubt, tuple[ColumnElement[bool], ...]]] = {
    "unpriced": (_IS_CALL, _C.cost_status.in_(("unpriced", "partial"))),
    "unknown": (_IS_CALL, _C.usage_status == "unknown"),
    "estimated": (_IS_CALL, _C.usage_status == "estimated"),
    "late": (_IS_CALL, _C.marks.contains(LATE)),
    "suspected_duplicate": (_IS_CALL, _C.marks.contains(SUSPECTED)),
    "taken_back": (_C.kind == REVERSAL,),
}


def is_of(doubt: Doubt) -> tuple[ColumnElement[bool] | TextClause, ...]:
    """Return the conditions of the events of which something is to be said."""
    return (IS_DOUBTFUL, *_CONDITIONS[doubt])
