"""What a server says of itself that matters to whoever has money there."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from tollspan.budget import SharedAuthority


class ServerRisk(msgspec.Struct, frozen=True, kw_only=True):
    """Something about a server that endangers what it counts.

    Attributes:
        severity: `problem`: it grants nothing, or forgets what was spent. `warning`: it may, when
            something else goes wrong.
        text: What was found.
        fix: What to do.
    """

    severity: Literal["warning", "problem"]
    text: str
    fix: str


class ServerReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a server is set up.

    Attributes:
        server: Its name and version, `Redis 7.2.4` say.
        clock_unix_ns: What its clock said; leases end by it.
        asked_at_unix_ns, answered_at_unix_ns: Between which moments of this host's clock that was.
        risks: What endangers money there, worst first.
    """

    server: str
    clock_unix_ns: int
    asked_at_unix_ns: int
    answered_at_unix_ns: int
    risks: tuple[ServerRisk, ...]

    @property
    def round_trip_seconds(self) -> float:
        """How long a question and its answer took."""
        return (self.answered_at_unix_ns - self.asked_at_unix_ns) / 1e9

    @property
    def ahead_seconds(self) -> float:
        """How far its clock is ahead of this host's; 0 within what can't be told apart."""
        if self.clock_unix_ns > self.answered_at_unix_ns:
            return (self.clock_unix_ns - self.answered_at_unix_ns) / 1e9
        return min(0, self.clock_unix_ns - self.asked_at_unix_ns) / 1e9


class ServedAuthority(SharedAuthority, Protocol):
    """A shared authority that a server keeps."""

    @property
    def place(self) -> str:
        """Where it is, without secrets, for people."""
        ...

    def inspect(self) -> ServerReport:
        """Ask the server how it is set up.

        Raises:
            LedgerError: It can't be reached.
        """
        ...


def problem(text: str, fix: str) -> ServerRisk:
    """Say what makes it grant nothing, or forget."""
    return ServerRisk(severity="problem", text=text, fix=fix)


def warning(text: str, fix: str) -> ServerRisk:
    """Say what may."""
    return ServerRisk(severity="warning", text=text, fix=fix)


def worst_first(risks: list[ServerRisk]) -> tuple[ServerRisk, ...]:
    """Return risks as a report has them."""
    return tuple(sorted(risks, key=lambda one: one.severity))
