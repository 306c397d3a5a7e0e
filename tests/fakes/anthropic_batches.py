"""Anthropic's Message Batches: accepted at once, ended when somebody asks, results line by line.

Shapes after the API reference and `types/messages/` of anthropic-python 2.14; values are made up.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Mapping
from typing import Any, cast

from tests.fakes import anthropic_messages, tokens
from tests.fakes.books import Charge
from tests.fakes.dialect import Answer, RefusedError
from tests.fakes.replies import Reply
from tests.fakes.values import sequence

_ENDINGS = ("errored", "canceled", "expired")
_COUNTS = ("processing", "succeeded", *_ENDINGS)


class Batches:
    """The batches that were begun.

    A request whose name begins with `errored`, `canceled` or `expired` ends so, and is not billed.

    Args:
        root: Where results are fetched from, as the answers say: a path is enough for the SDK.
    """

    def __init__(self, root: str = "") -> None:
        self._root = root
        self._ended: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._lock = threading.Lock()

    def begin(self, request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
        """Answer `POST /v1/messages/batches`."""
        entries = sequence(request.get("requests"))
        if not entries:
            raise RefusedError("requests: at least one request is required")
        charges: list[Charge] = []
        lines: list[dict[str, object]] = []
        counts = dict.fromkeys(_COUNTS, 0)
        for entry in cast("list[dict[str, Any]]", entries):
            name = str(entry["custom_id"])
            ending = next((one for one in _ENDINGS if name.startswith(one)), "succeeded")
            result: dict[str, object] = {"type": ending}
            if ending == "succeeded":
                params = {**entry["params"], "service_tier": "batch"}
                answer = anthropic_messages.messages(params, reply, count)
                charges += answer.charges
                result["message"] = json.loads(answer.body)
            elif ending == "errored":
                error = {"type": "invalid_request_error", "message": "made up"}
                result["error"] = {"type": "error", "error": error, "request_id": None}
            counts[ending] += 1
            lines.append({"custom_id": name, "result": result})
        id_ = f"msgbatch_{uuid.uuid4().hex}"
        ended = self._body(id_, "ended", counts)
        results = b"".join([json.dumps(line).encode() + b"\n" for line in lines])
        with self._lock:
            self._ended[id_] = (ended, results)
        begun = self._body(
            id_, "in_progress", {**dict.fromkeys(_COUNTS, 0), "processing": len(lines)}
        )
        return Answer(charges=tuple(charges), body=json.dumps(begun).encode())

    def fetch(self, method: str, path: str) -> bytes | None:
        """Answer what asks for a batch, or its results; None for anything else."""
        rest = path.removeprefix("/v1/messages/batches/")
        id_, _, what = rest.partition("/")
        with self._lock:
            found = self._ended.get(id_)
        if rest == path or found is None:
            return None
        body, results = found
        if (method, what) in {("GET", ""), ("POST", "cancel")}:
            return json.dumps(body).encode()
        return results if (method, what) == ("GET", "results") else None

    def _body(self, id_: str, status: str, counts: dict[str, int]) -> dict[str, Any]:
        is_over = status == "ended"
        at = "2026-11-22T12:00:00Z"
        return {
            "id": id_,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": at,
            "expires_at": "2026-11-23T12:00:00Z",
            "ended_at": at if is_over else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self._root}/v1/messages/batches/{id_}/results" if is_over else None,
        }
