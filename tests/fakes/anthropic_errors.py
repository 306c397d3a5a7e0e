"""Anthropic's error objects."""

from __future__ import annotations

from tests.fakes.dialect import RefusedError

_ERRORS = {
    400: ("invalid_request_error", "Invalid request."),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low."),
    403: ("permission_error", "Your API key does not have permission."),
    404: ("not_found_error", "The model does not exist."),
    413: ("request_too_large", "Request exceeds the maximum size."),
    429: ("rate_limit_error", "This request would exceed your rate limit."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "The request timed out."),
    529: ("overloaded_error", "Overloaded"),
}


def error_object(refused: RefusedError) -> dict[str, object]:
    """Return the `error` of a body or an event; what isn't given comes from a table."""
    fallback = _ERRORS[500] if refused.status >= 500 else _ERRORS[400]
    kind, message = _ERRORS.get(refused.status, fallback)
    error: dict[str, object] = {
        "type": refused.kind or kind,
        "message": refused.message or message,
    }
    return error | ({} if refused.code is None else {"details": {"error_code": refused.code}})
