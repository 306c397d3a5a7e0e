"""Anthropic's protocol: paths, keys, headers, errors."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs

from tests.fakes import anthropic_messages
from tests.fakes.anthropic_batches import Batches
from tests.fakes.anthropic_errors import error_object
from tests.fakes.dialect import Endpoint, RefusedError
from tests.fakes.wire import HttpRequest

_LIMIT_HEADERS = {
    "anthropic-ratelimit-requests-limit": "4000",
    "anthropic-ratelimit-requests-remaining": "3999",
    "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:00Z",
    "anthropic-ratelimit-input-tokens-limit": "2000000",
    "anthropic-ratelimit-input-tokens-remaining": "2000000",
    "anthropic-ratelimit-input-tokens-reset": "2026-11-22T12:00:00Z",
    "anthropic-ratelimit-output-tokens-limit": "400000",
    "anthropic-ratelimit-output-tokens-remaining": "400000",
    "anthropic-ratelimit-output-tokens-reset": "2026-11-22T12:00:00Z",
}


class AnthropicDialect:
    """Serves `/v1/messages`, also with `?beta=true`, its batches, and `/v1/messages/count_tokens`.

    Args:
        models: What `GET /v1/models` lists.
    """

    def __init__(self, models: Iterable[str]) -> None:
        self._models = [model for model in models if "@" not in model]
        self._batches = Batches()

    def route(self, http: HttpRequest) -> Endpoint | None:
        """Return what serves a request that is scripted and recorded; None for any other."""
        match http.method, http.path:
            case "POST", "/v1/messages":
                is_beta = parse_qs(http.query).get("beta") == ["true"]
                return functools.partial(anthropic_messages.messages, is_beta=is_beta)
            case "POST", "/v1/messages/batches":
                return self._batches.begin
            case "POST", "/v1/messages/count_tokens":
                return anthropic_messages.count_tokens
            case _:
                return None

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without a key, or without the version of the API."""
        if not headers.get("x-api-key") and not headers.get("authorization"):
            raise RefusedError("x-api-key header is required", status=401)
        if not headers.get("anthropic-version"):
            raise RefusedError("anthropic-version: header is required")

    def new_request_id(self) -> str:
        """Return the id of one answer."""
        return f"req_011C{uuid.uuid4().hex[:20]}"

    def headers(self, request_id: str, elapsed_ms: int) -> dict[str, str]:
        """Return the headers of every answer."""
        return {
            "request-id": request_id,
            "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
            "x-envoy-upstream-service-time": str(elapsed_ms),
        }

    def limit_headers(self) -> dict[str, str]:
        """Return the headers of a success about rate limits."""
        return _LIMIT_HEADERS

    def error_body(self, refused: RefusedError, request_id: str) -> dict[str, object]:
        """Return the body of an error."""
        return {"type": "error", "error": error_object(refused), "request_id": request_id}

    def unbilled(self, http: HttpRequest) -> tuple[int, bytes]:
        """List the models, or tell of a batch."""
        if (http.method, http.path) == ("GET", "/v1/models"):
            return 200, self._list_models()
        found = self._batches.fetch(http.method, http.path)
        if found is not None:
            return 200, found
        refused = RefusedError(f"Not found: {http.path}", status=404)
        return 404, json.dumps(self.error_body(refused, self.new_request_id())).encode()

    def _list_models(self) -> bytes:
        created = "2026-01-01T00:00:00Z"
        data = [
            {"type": "model", "id": name, "display_name": name, "created_at": created}
            for name in self._models
        ]
        ends = {"first_id": self._models[0], "last_id": self._models[-1]} if data else {}
        return json.dumps({"data": data, "has_more": False, **ends}).encode()
