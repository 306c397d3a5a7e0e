"""Reads exceptions: how the call ended, and whether it may have been billed.

`docs/reference/outcomes.md` has the table. Where nobody knows, money may have been spent.
"""

from __future__ import annotations

import asyncio

from openai import APIConnectionError, APIStatusError, APITimeoutError

from tollspan.instrumentation._call import Failure
from tollspan.usage import OutcomeStatus

# Answers of somebody who gave up waiting for the provider, or lost it: it may have gone on, and
# billed. 499, 520 and 524 are those of nginx and Cloudflare.
_MAYBE_BILLED_STATUS = frozenset({408, 499, 502, 504, 520, 524})
# Failures before a byte of the request was sent, by the transports' own class names.
_NEVER_SENT = frozenset(
    {
        "ConnectError",
        "ConnectTimeout",
        "PoolTimeout",
        "UnsupportedProtocol",
        "ProxyError",
        "LocalProtocolError",
        "InvalidURL",
    }
)
_TIMEOUTS = ("ReadTimeout", "WriteTimeout", "ConnectTimeout", "PoolTimeout")
_CANCELS = (asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)
# The SDK's steps before and between attempts: what fails in one of them was not sent.
_BEFORE_SENDING = frozenset({"_build_request", "_prepare_options", "_sleep_for_retry"})


def read_failure(error: BaseException, *, is_sent: bool) -> Failure:
    """Read the exception that ended a call.

    Args:
        error: As the SDK raised it.
        is_sent: The call reached the SDK's request funnel.
    """
    name = type(error).__name__
    if isinstance(error, APIStatusError):
        code = error.status_code
        return Failure("error", str(code), is_maybe_billed=code in _MAYBE_BILLED_STATUS)
    if isinstance(error, APIConnectionError):
        status: OutcomeStatus = "timeout" if isinstance(error, APITimeoutError) else "error"
        return Failure(status, name, is_maybe_billed=is_sent and was_sent(error.__cause__))
    if is_sent:
        is_sent = was_sent(error) and not _failed_before_sending(error)
    if isinstance(error, _CANCELS):
        return Failure("cancelled", name, is_maybe_billed=is_sent)
    if isinstance(error, TimeoutError) or name in _TIMEOUTS:
        return Failure("timeout", name, is_maybe_billed=is_sent)
    return Failure("error", name, is_maybe_billed=is_sent)


def was_sent(cause: BaseException | None) -> bool:
    """Say whether a transport's failure came after the request, or part of it, was sent."""
    return cause is None or type(cause).__name__ not in _NEVER_SENT


def retry_was_maybe_billed(response: object, error: BaseException | None) -> bool:
    """Say of an attempt that the SDK repeats whether the provider may have billed it.

    Args:
        response: The answer that made it retry, None when there was none.
        error: The transport's failure, when there was no answer.
    """
    if response is not None:
        return getattr(response, "status_code", None) in _MAYBE_BILLED_STATUS
    return was_sent(error)


def _failed_before_sending(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name in _BEFORE_SENDING:
            return True
        traceback = traceback.tb_next
    return False
