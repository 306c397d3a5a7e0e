"""Which requests may cost money: every POST that is not known to be free."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

# Everything below these is management: of files, objects, people and keys.
_FREE_BELOW = frozenset(
    {
        "files", "uploads", "models", "moderations", "assistants", "conversations", "organization",
        "projects", "skills", "vaults", "webhook_endpoints",
    }
)  # fmt: skip
# A `*` stands for one segment. Storage is billed by the day, not by the request.
_FREE = tuple(
    tuple(path.split("/"))
    for path in (
        "batches/*/cancel",
        "chat/completions/*",
        "evals",
        "evals/*",
        "evals/*/runs/*/cancel",
        "fine_tuning/alpha/graders/validate",
        "fine_tuning/jobs/*/cancel",
        "fine_tuning/jobs/*/pause",
        "fine_tuning/jobs/*/resume",
        "responses/input_tokens",
        "responses/*/cancel",
        "threads",
        "threads/*",
        "threads/*/messages",
        "threads/*/messages/*",
        "threads/*/runs/*",
        "threads/*/runs/*/cancel",
        "vector_stores",
        "vector_stores/*",
        "vector_stores/*/files",
        "vector_stores/*/files/*",
        "vector_stores/*/file_batches",
        "vector_stores/*/file_batches/*/cancel",
    )
)
# What a `*` above would cover, and is not free: it runs a model.
_BILLABLE = frozenset({("threads", "runs")})
_WORD = re.compile(r"[a-z_]{1,40}")


def billable_path(method: str, url: str) -> str | None:
    """Return the path of a request that may cost money, with ids blanked; None when it is free.

    Args:
        method: HTTP method, in any case.
        url: As it was given to the SDK: a path below the base URL, or an absolute URL.
    """
    if method.lower() != "post":
        return None
    parts = urlsplit(url)
    path = tuple(filter(None, parts.path.split("/")))
    if not parts.netloc and path not in _BILLABLE and _is_free(path):
        return None
    return "/" + "/".join(word if _WORD.fullmatch(word) else "{id}" for word in path)


def _is_free(path: tuple[str, ...]) -> bool:
    return path[:1] != () and (path[0] in _FREE_BELOW or any(_fits(path, free) for free in _FREE))


def _fits(path: tuple[str, ...], template: tuple[str, ...]) -> bool:
    return len(path) == len(template) and all(
        want in ("*", word) for want, word in zip(template, path, strict=True)
    )
