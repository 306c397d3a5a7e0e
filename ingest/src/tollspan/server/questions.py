"""What questions to the server have in common: whose calls, since when, and how pages follow."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from .problems import ProblemError

UNATTRIBUTED: Final = "unattributed"
"""Asks for what nobody said the value of."""
LATEST_NS: Final = 9_183_110_400 * 10**9
"""The last time that can be asked for, in nanoseconds since the epoch: the first day of 2261, as
its month still ends within 63 bits."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"[-+0-9._eE]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
Text = Annotated[str | None, Field(max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]


def _no_number(said: object) -> object:
    """Refuse a number, which pydantic would take for seconds or milliseconds."""
    if isinstance(said, str) and _NUMBER.fullmatch(said):
        raise ValueError("expected a date and time, RFC 3339")
    return said


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class CallParameters(BaseModel):
    """Which calls are asked for; a value `unattributed` asks for those that say none."""

    model_config = ConfigDict(extra="forbid")

    customer: Text = None
    session: Text = None
    user: Text = None
    agent: Text = None
    feature: Text = None
    step: Text = None
    team: Text = None
    project: Text = None
    service: Text = None
    environment: Text = None
    provider: Text = None
    model: Text = None
    operation: Text = None
    outcome: Text = None


def wanted(said: dict[str, str]) -> dict[str, str | None]:
    """Return values that calls must have, by name; None for those that say none.

    Raises:
        ProblemError: A value has what no value can have.
    """
    for name, text in said.items():
        if _CONTROL.search(text):
            raise ProblemError(400, f"query.{name}: expected no control characters")
    return {name: None if text == UNATTRIBUTED else text for name, text in said.items()}


def nanoseconds(moment: datetime) -> int:
    """Return a time in nanoseconds since the epoch; the nearest that there is, for those beyond."""
    microseconds = (moment - _EPOCH) // timedelta(microseconds=1)
    return min(max(0, microseconds * 1_000), LATEST_NS)


def write_cursor(place: str) -> str:
    """Write where a page ends, for the next one: nothing that a client should read."""
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> str:
    """Read where a page ended.

    Raises:
        ProblemError: It is none of ours.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise wrong_cursor() from None


def wrong_cursor() -> ProblemError:
    """Return what a cursor that is none is answered with."""
    return ProblemError(400, "query.cursor: expected `next` of the page before")
