"""What endangers money in a PostgreSQL, as it says of itself.

Source: PostgreSQL's documentation, "Write Ahead Log" and "Replication" of the server's
configuration (13 to 18).
"""

from __future__ import annotations

from typing import Final

import msgspec

from .inspecting import ServerRisk, problem, warning

OLDEST_VERSION: Final = 130_000
QUESTION: Final = """
SELECT json_build_object(
    'version', current_setting('server_version'),
    'version_number', current_setting('server_version_num')::integer,
    'clock_unix_ns', trunc(extract(epoch FROM clock_timestamp())::numeric * 1000000000)::text,
    'is_standby', pg_is_in_recovery(),
    'is_read_only', current_setting('transaction_read_only')::boolean,
    'fsync', current_setting('fsync'),
    'full_page_writes', current_setting('full_page_writes'),
    'synchronous_commit', current_setting('synchronous_commit'),
    'synchronous_standbys', current_setting('synchronous_standby_names'),
    'replicas', (SELECT count(*) FROM pg_stat_replication)
)
"""


class Said(msgspec.Struct, frozen=True):
    """The answer; settings by their names."""

    version: str
    version_number: int
    clock_unix_ns: str
    is_standby: bool
    is_read_only: bool
    fsync: str
    full_page_writes: str
    synchronous_commit: str
    synchronous_standbys: str
    replicas: int


def risks_of(said: Said) -> list[ServerRisk]:
    """Return what endangers money."""
    found = (_version(said), _role(said), *_disk(said), _replicas(said))
    return [one for one in found if one is not None]


def _version(said: Said) -> ServerRisk | None:
    if said.version_number >= OLDEST_VERSION:
        return None
    return problem(f"it is PostgreSQL {said.version}: too old", "upgrade it to 13 or newer")


def _role(said: Said) -> ServerRisk | None:
    if said.is_standby:
        return problem(
            "it is a standby, and takes no writes",
            "name the primary: with several hosts in the URL, add target_session_attrs=read-write",
        )
    if said.is_read_only:
        return problem(
            "it is read-only", "ALTER DATABASE … SET default_transaction_read_only = off"
        )
    return None


def _disk(said: Said) -> list[ServerRisk | None]:
    return [
        problem(
            "its fsync is off: after a crash of its machine nothing there can be trusted",
            "set fsync = on in postgresql.conf, and reload",
        )
        if said.fsync == "off"
        else None,
        warning(
            "its full_page_writes is off: a crash of its machine may tear pages",
            "set full_page_writes = on in postgresql.conf, and reload",
        )
        if said.full_page_writes == "off"
        else None,
        warning(
            "its synchronous_commit is off: a crash forgets what was granted in the last second",
            "ALTER DATABASE … SET synchronous_commit = on",
        )
        if said.synchronous_commit == "off"
        else None,
    ]


def _replicas(said: Said) -> ServerRisk | None:
    if not said.replicas or said.synchronous_standbys:
        return None
    standbys = "1 standby, which is not" if said.replicas == 1 else f"{said.replicas} standbys, not"
    return warning(
        f"it has {standbys} waited for: a failover may forget the last grants, and grant them"
        " again",
        "name one in synchronous_standby_names, or fail over by hand and open the authority anew",
    )
