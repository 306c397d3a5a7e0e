"""Reads exceptions: how the call ended, and whether it may have been billed.

`docs/reference/outcomes.md` has the table. Where nobody knows, money may have been spent. The
SDKs' exceptions are known by their names, which all of them share.
"""

from __future__ import annotations

import asyncio

from tollspan.instrumentation._run import Failure
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
_BEFORE_SENDING = frozenset(
    {
        "_build_request",
        "_copy_and_prepare",
        "_prepare_options",
        "_prepare_request",
        "_sleep_for_retry",
        "_validate_max_retries",
    }
)


def read_failure(error: BaseException) -> Failure:
    """Read the exception that ended a call, or its stream, as the SDK raised it."""
    name = type(error).__name__
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "APIStatusError" in kinds:
        code = getattr(error, "status_code", 0)
        if code < 400:  # an error event in mid-stream: Anthropic's SDK takes the headers' status
            return Failure("error", name, is_maybe_billed=True)
        return Failure("error", str(code), is_maybe_billed=code in _MAYBE_BILLED_STATUS)
    if "APIConnectionError" in kinds:
        status: OutcomeStatus = "timeout" if "APITimeoutError" in kinds else "error"
        return Failure(status, name, is_maybe_billed=was_sent(error))
    is_sent = was_sent(error) and not _failed_before_sending(error)
    if isinstance(error, _CANCELS):
        return Failure("cancelled", name, is_maybe_billed=is_sent)
    if isinstance(error, TimeoutError) or name in _TIMEOUTS:
        return Failure("timeout", name, is_maybe_billed=is_sent)
    return Failure("error", name, is_maybe_billed=is_sent)


def was_sent(error: BaseException | None) -> bool:
    """Say whether a failure came after the request, or part of it, was sent.

    Args:
        error: The transport's own, or the SDK's that was raised from it.
    """
    if any(kind.__name__ == "APIConnectionError" for kind in type(error).__mro__):
        error = error.__cause__ if error is not None else None
    return type(error).__name__ not in _NEVER_SENT


def retry_was_maybe_billed(response: object, error: BaseException | None) -> bool:
    """Say of an attempt that the SDK repeats whether the provider may have billed it.

    Args:
        response: The answer that made it retry, None when there was none.
        error: The failure, when there was no answer.
    """
    if response is not None:
        return getattr(response, "status_code", None) in _MAYBE_BILLED_STATUS
    return was_sent(error)


def answer_before(error: BaseException) -> object:
    """Return the HTTP response that the SDK was reading when it failed; None when there is none.

    It is found in the frames that the exception passed: nothing has to be kept while all goes well.
    """
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name == "_process_response":
            found: object = traceback.tb_frame.f_locals.get("response")
            return found
        traceback = traceback.tb_next
    return None


def _failed_before_sending(error: BaseException) -> bool:
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_name in _BEFORE_SENDING:
            return True
        traceback = traceback.tb_next
    return False
