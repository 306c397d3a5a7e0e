"""What can go wrong with PostgreSQL, in our words. No message holds a password."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tollspan.usage import LedgerUnavailableError

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult

    from ._pg_link import Place

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_AGAIN: Final = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: nothing was done, and the next time will do."""
_BROKEN: Final = frozenset({"25006", "57P01", "57P02", "57P03", "57P05"})
"""The server goes down, or is a standby."""
_NOT_THERE: Final = frozenset({"3F000", "42883", "42P01"})
"""No such schema, function or table."""
_NO_RIGHT: Final = "42501"
_LOCKED: Final = "55P03"
_STANDBY: Final = "25006"

NOT_OPEN: Final = "run `tollspan authority open URL`"


class LinkError(LedgerUnavailableError):
    """A question that was not answered.

    Attributes:
        is_broken: The connection is of no use any more; whether the question was carried out is
            not known.
        is_passing: Nothing was done, because of others who were at it too; ask again.
        is_missing: There is no authority.
    """

    def __init__(
        self,
        text: str,
        *,
        is_broken: bool = False,
        is_passing: bool = False,
        is_missing: bool = False,
    ) -> None:
        super().__init__(text)
        self.is_missing = is_missing
        self.is_broken = is_broken
        self.is_passing = is_passing


def unreachable(place: Place, said: str) -> LedgerUnavailableError:
    """Say that there is no connection."""
    return LedgerUnavailableError(f"{place} can't be reached: {place.without_secrets(said)}")


def refusal_of(result: PGresult, place: Place) -> LinkError | None:
    """Return why a statement failed; None when it did not."""
    from psycopg.pq import DiagnosticField, ExecStatus  # noqa: PLC0415 - an extra, loaded by then

    if result.status not in {ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE}:
        return None
    code = (result.error_field(DiagnosticField.SQLSTATE) or b"").decode()
    primary = (result.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"").decode(errors="replace")
    said = place.without_secrets(primary or result.get_error_message("utf-8"))
    is_broken = not code or code[:2] == "08" or code in _BROKEN
    return LinkError(
        f"{place}: {_words(code, said)}",
        is_broken=is_broken,
        is_passing=code in _AGAIN,
        is_missing=code in _NOT_THERE,
    )


def _words(code: str, said: str) -> str:
    if code in _NOT_THERE:
        return f"no authority was opened there ({said}): {NOT_OPEN}"
    if code == _NO_RIGHT:
        return f"{said}; {_grant_for(said)}"
    if code == _LOCKED:
        return "somebody else kept an account locked all the time"
    if code == _STANDBY:
        return f"it is a standby, or read-only ({said})"
    return f"{said} (SQLSTATE {code})"


def _grant_for(said: str) -> str:
    """Name the right that is missing, by what the server says is denied."""
    if "for database" in said:
        return "whoever opens it needs GRANT CREATE ON DATABASE ... TO this role"
    if "for schema" in said:
        return "clients need GRANT USAGE ON SCHEMA tollspan TO this role"
    if "for function" in said:
        return "clients need GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tollspan TO this role"
    return "only the owner of the schema tollspan may do that"
