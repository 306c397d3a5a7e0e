"""Signs webhooks, and lets their receivers check them: HMAC-SHA256 over `timestamp.body`."""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Sequence
from typing import Final

from .errors import ConfigError

_TOLERANCE_SECONDS: Final = 300
_PREFIX: Final = "sha256="
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_SEPARATOR: Final = re.compile(r"[,\s]+")
_MOST_SIGNATURES: Final = 8


def sign_webhook(body: bytes | str, secret: str, timestamp: int | str) -> str:
    """Return the signature of a webhook: 64 hex digits.

    Args:
        body: As it is sent, byte by byte.
        secret: What sender and receiver share, with its `whsec_`.
        timestamp: When it is sent, in whole seconds since the epoch, as its header says it.

    Raises:
        ConfigError: There is no secret.
    """
    if not secret:
        raise ConfigError("the webhook's secret is empty; expected `whsec_…`")
    content = body.encode("utf-8", "replace") if isinstance(body, str) else bytes(body)
    signed = str(timestamp).encode("ascii", "replace") + b"." + content
    return hmac.new(secret.encode("utf-8", "replace"), signed, hashlib.sha256).hexdigest()


def verify_webhook(
    body: bytes | str,
    signature: str,
    secret: str | Sequence[str],
    timestamp: int | str,
    *,
    tolerance_seconds: float = _TOLERANCE_SECONDS,
    now: float | None = None,
) -> bool:
    """Say whether a webhook comes from who has the secret, and was sent just now.

    Takes as long whichever secret is right, and however much of a signature is.

    Args:
        body: As it came, before any JSON was read.
        signature: The header `Tollspan-Signature`: 64 hex digits, `sha256=` before them or not;
            several after commas, of which one has to be right.
        secret: One, or several while they are changed.
        timestamp: The header `Tollspan-Timestamp`: seconds since the epoch.
        tolerance_seconds: How far that may be from now, either way.
        now: The time in seconds since the epoch; None for this machine's.

    Returns:
        False for a wrong signature, one of no known form, and a time too far away.

    Raises:
        ConfigError: There is no secret, or one is empty.
    """
    secrets = (secret,) if isinstance(secret, str) else tuple(secret)
    if not secrets:
        raise ConfigError("there is no secret to check webhooks by; expected `whsec_…`")
    said = str(timestamp)
    expected = [sign_webhook(body, one, said).encode() for one in secrets]
    is_signed = False
    for candidate in _candidates(signature):
        for right in expected:
            is_signed |= hmac.compare_digest(candidate, right)
    return is_signed and _is_now(said, time.time() if now is None else now, tolerance_seconds)


def _candidates(signature: str) -> list[bytes]:
    """Take a header apart: hex digits in lower case; what has another form is left out."""
    parts = [one.removeprefix(_PREFIX) for one in _SEPARATOR.split(signature[:1024].strip())]
    return [one.lower().encode() for one in parts if _DIGEST.fullmatch(one)][:_MOST_SIGNATURES]


def _is_now(timestamp: str, now: float, tolerance_seconds: float) -> bool:
    return bool(_TIMESTAMP.fullmatch(timestamp)) and abs(now - int(timestamp)) <= tolerance_seconds
