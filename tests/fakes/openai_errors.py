"""OpenAI's error objects."""

from __future__ import annotations

from tests.fakes.dialect import RefusedError

_ERRORS = {
    400: ("invalid_request_error", None, "Invalid request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "unsupported_country_region_territory", "Not allowed."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist."),
    408: ("timeout", None, "Request timed out."),
    409: ("invalid_request_error", None, "Conflict."),
    422: ("invalid_request_error", None, "Unprocessable."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


def error_object(refused: RefusedError) -> dict[str, object]:
    """Return the `error` of a body or an event; what isn't given comes from a table."""
    fallback = _ERRORS[500] if refused.status >= 500 else _ERRORS[400]
    kind, code, message = _ERRORS.get(refused.status, fallback)
    if refused.code == "insufficient_quota":
        kind = refused.code
    return {
        "message": refused.message or message,
        "type": refused.kind or kind,
        "param": refused.param,
        "code": refused.code or code,
    }
