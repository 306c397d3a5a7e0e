"""OpenAI's files and batches: requests in one file, answers in another, errors in a third.

Shapes after the API reference and `types/batch.py` of openai-python 3.57; values are made up.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from typing import Any

from tests.fakes import openai_chat, openai_responses, openai_vectors, tokens
from tests.fakes.books import Charge
from tests.fakes.dialect import Answer, Endpoint, RefusedError
from tests.fakes.forms import read_form
from tests.fakes.replies import Reply
from tests.fakes.values import mapping
from tests.fakes.wire import HttpRequest

_MOST_LINES = 50_000
_ENDINGS = ("errored", "expired", "cancelled")
_ENDPOINTS: Mapping[str, Endpoint] = {
    "/v1/chat/completions": openai_chat.chat,
    "/v1/completions": openai_chat.completions,
    "/v1/responses": openai_responses.responses,
    "/v1/embeddings": openai_vectors.embeddings,
    "/v1/moderations": openai_vectors.moderations,
}


class FileBatches:
    """The files that were uploaded, and the batches that were begun.

    A request whose name begins with `errored`, `expired` or `cancelled` ends so, and is not billed;
    its batch ends as `expired` or `cancelled` then. A batch is seen to end at the second look; one
    of a file with a line that can't be read has `failed` then.
    """

    def __init__(self) -> None:
        self._files: dict[str, tuple[dict[str, Any], bytes]] = {}
        self._batches: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def begin(self, request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
        """Answer `POST /v1/batches`."""
        endpoint = str(request.get("endpoint"))
        if endpoint not in _ENDPOINTS or request.get("completion_window") != "24h":
            raise RefusedError("Invalid value: 'endpoint' or 'completion_window'.")
        with self._lock:
            found = self._files.get(str(request.get("input_file_id")))
        if found is None:
            raise RefusedError("Invalid file_id in the input.", code="invalid_file_id")
        done = _Done(endpoint, reply, count)
        done.read(found[1])
        batch: dict[str, Any] = {
            "id": f"batch_{uuid.uuid4().hex}",
            "object": "batch",
            "endpoint": endpoint,
            "errors": None,
            "input_file_id": request["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(time.time()),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": request.get("metadata"),
        }
        ended = {**batch, **done.fields, **self._stored(done)}
        with self._lock:
            self._batches[batch["id"]] = [{**batch, "status": "in_progress"}, ended]
        return Answer(charges=tuple(done.charges), body=json.dumps(batch).encode())

    def store(self, content: bytes) -> str:
        """Keep a file that somebody else has uploaded; return its id."""
        id_: str = self._keep(content, "batch")["id"]
        return id_

    def cut(self, file_id: str) -> None:
        """Lose the last line of a file."""
        with self._lock:
            file, content = self._files[file_id]
            lines = content.splitlines(keepends=True)
            self._files[file_id] = (file, b"".join(lines[:-1]))

    def fetch(self, http: HttpRequest, operation: str) -> bytes | None:
        """Answer what asks for files and batches; None for anything else."""
        words = operation.strip("/").split("/")
        match http.method, words:
            case "POST", ["files"]:
                return self._upload(http)
            case "GET", ["files", id_]:
                found = self._files.get(id_)
                return None if found is None else json.dumps(found[0]).encode()
            case "GET", ["files", id_, "content"]:
                found = self._files.get(id_)
                return None if found is None else found[1]
            case "GET", ["batches"]:
                return self._listed()
            case ("GET", ["batches", id_]) | ("POST", ["batches", id_, "cancel"]):
                return self._look(id_)
            case _:
                return None

    def _upload(self, http: HttpRequest) -> bytes:
        fields = read_form(http)
        file = self._keep(fields["file"], fields["purpose"].decode())
        return json.dumps(file).encode()

    def _keep(self, content: bytes, purpose: str) -> dict[str, Any]:
        file: dict[str, Any] = {
            "id": f"file-{uuid.uuid4().hex}",
            "object": "file",
            "bytes": len(content),
            "created_at": int(time.time()),
            "filename": "file.jsonl",
            "purpose": purpose,
            "status": "processed",
        }
        with self._lock:
            self._files[file["id"]] = (file, content)
        return file

    def _stored(self, done: _Done) -> dict[str, Any]:
        """Store what a batch's requests were answered, in the files that it has in the end."""
        ids: dict[str, Any] = {}
        for name, lines in (("output_file_id", done.outputs), ("error_file_id", done.errors)):
            if lines:
                content = b"".join([json.dumps(line).encode() + b"\n" for line in lines])
                ids[name] = self._keep(content, "batch_output")["id"]
        return ids

    def _look(self, id_: str) -> bytes | None:
        """Show a batch; it is one step further the next time."""
        with self._lock:
            steps = self._batches.get(id_)
            if steps is None:
                return None
            shown = steps.pop(0) if len(steps) > 1 else steps[0]
        return json.dumps(shown).encode()

    def _listed(self) -> bytes:
        with self._lock:
            data = [steps[0] for steps in self._batches.values()]
        ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
        return json.dumps({"object": "list", "data": data, "has_more": False, **ends}).encode()


class _Done:
    """What becomes of the lines of a file."""

    def __init__(self, endpoint: str, reply: Reply, count: tokens.Count) -> None:
        self._endpoint = endpoint
        self._reply = reply
        self._count = count
        self._ends: Counter[str] = Counter()
        self._failed: str | None = None
        self.charges: list[Charge] = []
        self.outputs: list[object] = []
        self.errors: list[object] = []

    def read(self, content: bytes) -> None:
        """Answer each line; where one can't be read, none is."""
        lines = [line for line in content.split(b"\n") if line.strip()]
        try:
            asked = [mapping(json.loads(line)) for line in lines]
        except ValueError:
            asked, self._failed = [], "invalid_json_line"
        names = {str(one.get("custom_id")) for one in asked}
        if any(one.get("url") != self._endpoint for one in asked):
            self._failed = "mismatched_endpoint"
        elif len(names) < len(asked):
            self._failed = "duplicate_custom_id"
        elif not 0 < len(asked) <= _MOST_LINES:
            self._failed = self._failed or "empty_file"
        for one in () if self._failed else asked:
            self._answer(str(one["custom_id"]), mapping(one.get("body")))

    @property
    def fields(self) -> dict[str, object]:
        """How the batch ends."""
        now = int(time.time())
        if self._failed:
            error = {"code": self._failed, "line": 1, "message": "made up", "param": None}
            errors = {"object": "list", "data": [error]}
            return {"status": "failed", "failed_at": now, "errors": errors}
        status = next((one for one in ("expired", "cancelled") if self._ends[one]), "completed")
        completed = self._ends["completed"]
        total = sum(self._ends.values())
        counts = {"total": total, "completed": completed, "failed": total - completed}
        return {"status": status, f"{status}_at": now, "request_counts": counts}

    def _answer(self, name: str, body: Mapping[str, object]) -> None:
        ending = next((one for one in _ENDINGS if name.startswith(one)), "completed")
        if ending in ("expired", "cancelled"):
            error = {"code": f"batch_{ending}", "message": "made up"}
            self.errors.append(_line(name, None, error))
        else:
            try:
                if ending == "errored":
                    raise RefusedError("made up")
                answer = _ENDPOINTS[self._endpoint](body, self._reply, self._count)
            except RefusedError as refused:
                ending = "errored"
                said = {"error": {"message": refused.message}}
                self.errors.append(_line(name, _response(refused.status, said)))
            else:
                self.outputs.append(_line(name, _response(200, json.loads(answer.body))))
                self.charges += [one._replace(variants=("batch",)) for one in answer.charges]
        self._ends[ending] += 1


def _line(name: str, response: object, error: object = None) -> dict[str, object]:
    id_ = f"batch_req_{uuid.uuid4().hex}"
    return {"id": id_, "custom_id": name, "response": response, "error": error}


def _response(status: int, body: object) -> dict[str, object]:
    return {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
