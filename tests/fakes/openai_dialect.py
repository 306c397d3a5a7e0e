"""OpenAI's protocol, and Azure's face of it: paths, keys, headers, errors."""

from __future__ import annotations

import functools
import json
import threading
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tests.fakes import openai_chat, openai_responses, openai_vectors, openai_videos, tokens
from tests.fakes.dialect import Answer, Endpoint, RefusedError
from tests.fakes.openai_batches import FileBatches
from tests.fakes.openai_errors import error_object
from tests.fakes.replies import Reply
from tests.fakes.wire import HttpRequest

_KEPT_RESPONSES = 1000
_LIMIT_HEADERS = {
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-limit-tokens": "200000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-remaining-tokens": "199978",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "6ms",
}
_OPERATIONS: Mapping[str, Endpoint] = {
    "/chat/completions": openai_chat.chat,
    "/completions": openai_chat.completions,
    "/responses": openai_responses.responses,
    "/responses/compact": openai_responses.compact,
    "/embeddings": openai_vectors.embeddings,
    "/moderations": openai_vectors.moderations,
    "/videos": openai_videos.videos,
}


class _Target(NamedTuple):
    """Where a path leads: an operation, below one deployment of Azure's or none."""

    operation: str
    is_azure: bool = False
    deployment: str | None = None


class OpenAIDialect:
    """Serves `/v1/…`, and Azure's `/openai/deployments/{name}/…`, `/openai/…`, `/openai/v1/…`.

    Args:
        models: What `GET /v1/models` lists.
        deployments: Azure's deployments: name → model. Each model is also a deployment.

    Attributes:
        batches: Its files and batches.
    """

    def __init__(self, models: Iterable[str], deployments: Mapping[str, str]) -> None:
        self._models = [model for model in models if "@" not in model]
        self._deployments = {**{model: model for model in self._models}, **deployments}
        self._later: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self.batches = FileBatches()

    def route(self, http: HttpRequest) -> Endpoint | None:
        """Return what serves a billable request; None for any other."""
        target = _target(http.path)
        operation = _OPERATIONS.get(target.operation) if http.method == "POST" else None
        if http.method == "POST" and target.operation == "/batches":
            return self.batches.begin
        if operation is None:
            return None
        if target.operation in ("/responses", "/videos"):
            operation = functools.partial(self._respond, operation)
        if not target.is_azure:
            return operation
        if target.operation == "/chat/completions":
            operation = functools.partial(openai_chat.chat, is_azure=True)
        return functools.partial(self._deployed, operation, target, http.query)

    def authenticate(self, headers: Mapping[str, str]) -> None:
        """Refuse a request without a key: OpenAI's, or Azure's `api-key`."""
        if not headers.get("authorization", "").startswith("Bearer ") and not headers.get(
            "api-key"
        ):
            raise RefusedError("You didn't provide an API key.", status=401)

    def new_request_id(self) -> str:
        """Return the id of one answer."""
        return f"req_{uuid.uuid4().hex}"

    def headers(self, request_id: str, elapsed_ms: int) -> dict[str, str]:
        """Return the headers of every answer."""
        return {
            "x-request-id": request_id,
            "openai-version": "2020-10-01",
            "openai-organization": "fake-org",
            "openai-processing-ms": str(elapsed_ms),
        }

    def limit_headers(self) -> dict[str, str]:
        """Return the headers of a success about rate limits."""
        return _LIMIT_HEADERS

    def error_body(self, refused: RefusedError, request_id: str) -> dict[str, object]:
        """Return the body of an error."""
        return {"error": error_object(refused)}

    def unbilled(self, http: HttpRequest) -> tuple[int, bytes]:
        """List the models, or tell what became of a response, a video, a file or a batch."""
        operation = _target(http.path).operation
        if http.method == "GET" and operation == "/models":
            return 200, self._list_models()
        found = self.batches.fetch(http, operation)
        if found is not None:
            return 200, found
        with self._lock:
            later = self._later.get(operation.removeprefix("/responses/").removeprefix("/videos/"))
        if http.method == "GET" and later is not None:
            return 200, later
        message = f"Invalid URL ({http.method} {http.path})"
        refused = RefusedError(message, status=404, code="unknown_url")
        return 404, json.dumps(self.error_body(refused, "")).encode()

    def _respond(
        self, endpoint: Endpoint, request: Mapping[str, object], reply: Reply, count: tokens.Count
    ) -> Answer:
        """Answer, and keep what can be fetched later."""
        answer = endpoint(request, reply, count)
        if answer.later is not None:
            name, body = answer.later
            with self._lock:
                self._later[name] = body
                if len(self._later) > _KEPT_RESPONSES:
                    self._later.popitem(last=False)
        return answer

    def _deployed(
        self,
        endpoint: Endpoint,
        target: _Target,
        query: str,
        request: Mapping[str, object],
        reply: Reply,
        count: tokens.Count,
    ) -> Answer:
        """Answer with the model behind a deployment, which the path names or the body."""
        if "api-version=" not in query and target.deployment is not None:
            raise RefusedError("Resource not found", status=404, code="404")
        name = target.deployment or str(request.get("model"))
        if name not in self._deployments:
            message = "The API deployment for this resource does not exist."
            raise RefusedError(message, status=404, code="DeploymentNotFound")
        return endpoint({**request, "model": self._deployments[name]}, reply, count)

    def _list_models(self) -> bytes:
        data = [
            {"id": name, "object": "model", "created": 1_720_000_000, "owned_by": "fake"}
            for name in self._models
        ]
        return json.dumps({"object": "list", "data": data}).encode()


def _target(path: str) -> _Target:
    if path.startswith("/v1/"):
        return _Target(path.removeprefix("/v1"))
    azure = path.removeprefix("/openai")
    if azure == path:
        return _Target("")
    if azure.startswith("/deployments/"):
        _, _, deployment, rest = azure.split("/", 3) if azure.count("/") > 2 else ("",) * 4
        return _Target(f"/{rest}", is_azure=True, deployment=deployment)
    return _Target(azure.removeprefix("/v1"), is_azure=True)
