"""Which requests may cost money: every POST that is not known to be free."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# Below `/v1`: management of files, agents, skills, keys and people, and the counting of tokens.
_FREE_BELOW = frozenset(
    {
        "agents", "deployments", "environments", "files", "models", "organization",
        "organizations", "skills", "tunnels", "user_profiles", "vaults", "webhooks",
    }
)  # fmt: skip
_FREE = re.compile(r"/v1/messages/(count_tokens|batches/[^/]+/cancel)")
# What `_FREE_BELOW` would cover, and is not free: it runs an agent.
_BILLABLE = re.compile(r"/v1/deployments/[^/]+/run")
_WORD = re.compile(r"[a-z0-9_]{1,40}")


def billable_path(method: str, url: str) -> str | None:
    """Return the path of a request that may cost money, with ids blanked; None when it is free.

    Args:
        method: HTTP method, in any case.
        url: As it was given to the SDK: a path below the base URL, or an absolute URL.
    """
    if method.lower() != "post":
        return None
    path = urlsplit(url).path.rstrip("/")
    words = path.strip("/").split("/")
    is_below = len(words) > 1 and words[1] in _FREE_BELOW and not _BILLABLE.fullmatch(path)
    if is_below or _FREE.fullmatch(path):
        return None
    return "/" + "/".join(word if _WORD.fullmatch(word) else "{id}" for word in words)
