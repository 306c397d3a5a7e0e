"""What endangers money in a Redis or Valkey, as it says of itself.

Sources: the servers' own `redis.conf`, and the documentation of INFO (Redis 6 to 8, Valkey 8).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from tollspan.usage import LedgerUnavailableError

from .inspecting import ServerRisk, problem, warning

OLDEST_VERSION: Final = 6
_NEARLY_FULL: Final = 0.9
Settings = Mapping[str, str]


def risks_of(info: Mapping[str, object], config: Callable[[str], str | None]) -> list[ServerRisk]:
    """Return what endangers money.

    Args:
        info: What INFO says.
        config: Returns a setting of the server; None where it does not say.
    """
    said = {key: str(value) for key, value in info.items()}
    found = (_version(said), _role(said), _memory(said), *_disk(said, config))
    return [one for one in (*found, _replicas(said, config)) if one is not None]


def name_of_server(info: Mapping[str, object]) -> str:
    """Name the server, `Valkey 8.0.1` say."""
    valkey = info.get("valkey_version")
    name = "Redis" if valkey is None else "Valkey"
    mode = ", in a cluster" if str(info.get("cluster_enabled")) == "1" else ""
    return f"{name} {valkey or info.get('redis_version', '?')}{mode}"


def evicts(info: Mapping[str, object]) -> str | None:
    """Return the policy by which it throws keys away; None where it does not."""
    policy = str(info.get("maxmemory_policy", "noeviction"))
    return policy if info.get("maxmemory", 0) != 0 and policy != "noeviction" else None


def is_too_old(info: Mapping[str, object]) -> bool:
    """Say whether it lacks what the scripts need."""
    return int(str(info.get("redis_version", "0")).partition(".")[0]) < OLDEST_VERSION


def read_setting(command: Callable[[str], object], name: str) -> str | None:
    """Return a setting; None where users may not ask, as in most clouds."""
    try:
        found = command(name)
    except LedgerUnavailableError:
        return None
    for value in cast("dict[str, object]", found).values():
        return value.decode() if isinstance(value, bytes) else str(value)
    return None


def _version(said: Settings) -> ServerRisk | None:
    if not is_too_old(said):
        return None
    version = said.get("redis_version")
    return problem(
        f"it is Redis {version}: too old", f"upgrade it to {OLDEST_VERSION} or newer, or Valkey"
    )


def _role(said: Settings) -> ServerRisk | None:
    if said.get("role", "master") == "master":
        return None
    return problem(
        f"it is a replica of {said.get('master_host')}, and takes no writes",
        "name the primary in TOLLSPAN_AUTHORITY",
    )


def _memory(said: Settings) -> ServerRisk | None:
    policy = evicts({**said, "maxmemory": int(said.get("maxmemory", "0"))})
    if policy is not None:
        return problem(
            f"its maxmemory-policy is {policy}: it may throw away what was spent",
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf",
        )
    most, used = int(said.get("maxmemory", "0")), int(said.get("used_memory", "0"))
    if most and used >= most * _NEARLY_FULL:
        return warning(
            f"{used:,} of {most:,} bytes of its maxmemory are used: when it is full it grants"
            " nothing, and on_unavailable decides",
            "raise maxmemory, or give the authority a server of its own",
        )
    return None


def _disk(said: Settings, config: Callable[[str], str | None]) -> list[ServerRisk | None]:
    if said.get("aof_enabled") == "0":
        return [
            warning(
                "its appendonly is no: after a crash it has lost what was counted since its last"
                " snapshot",
                "CONFIG SET appendonly yes, and in redis.conf",
            ),
            _snapshot(said),
        ]
    failed = said.get("aof_last_write_status", "ok") != "ok"
    if failed:
        return [problem("its last write to the disk failed", "make room on the server's disk")]
    if config("appendfsync") == "no":
        return [
            warning(
                "its appendfsync is no: a crash of its machine may lose half a minute",
                "CONFIG SET appendfsync everysec (loses a second) or always, and in redis.conf",
            )
        ]
    return []


def _snapshot(said: Settings) -> ServerRisk | None:
    if said.get("rdb_last_bgsave_status", "ok") == "ok":
        return None
    return problem("its last snapshot failed", "see the server's log; make room on its disk")


def _replicas(said: Settings, config: Callable[[str], str | None]) -> ServerRisk | None:
    replicas = int(said.get("connected_slaves", "0"))
    if not replicas or config("min-replicas-to-write") not in ("0", None):
        return None
    return warning(
        f"it has {replicas} replica{'' if replicas == 1 else 's'}, which hear of changes"
        " afterwards: a failover may forget the last, and grant them again",
        "CONFIG SET min-replicas-to-write 1 bounds how long a cut-off server goes on; where nothing"
        " may be lost, use PostgreSQL with synchronous replicas",
    )
