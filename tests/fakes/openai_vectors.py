"""OpenAI's embeddings and moderations, as pure functions from a request to its answer.

Shapes after the API reference and the types of openai-python 3.54; values are made up.
"""

from __future__ import annotations

import base64
import json
import struct
import uuid
from collections.abc import Mapping

from tests.fakes import tokens
from tests.fakes.books import Charge, Consumed
from tests.fakes.dialect import Answer, RefusedError
from tests.fakes.replies import Reply
from tests.fakes.values import mapping, sequence

MODERATION_MODEL = "omni-moderation-latest"
_DIMENSIONS = 8
_CATEGORIES = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/instructions",
    "self-harm/intent",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)


def embeddings(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/embeddings`: vectors of 8 numbers (or `dimensions`), one per input."""
    if not isinstance(request.get("model"), str) or not request.get("input"):
        raise RefusedError("Missing required parameter.", "input")
    prompt = tokens.input_tokens(request["input"], count)
    prompt = prompt if reply.prompt_tokens is None else reply.prompt_tokens
    model = str(request["model"])
    embedding = _vector(request)
    body: dict[str, object] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": embedding}
            for index in range(_inputs(request["input"]))
        ],
        "model": reply.model or model,
    }
    if not reply.omit_usage:
        body["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt}
    charge = Charge(model, Consumed(prompt_tokens=prompt))
    return Answer(charges=(charge,), body=json.dumps(body).encode())


def moderations(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/moderations`: nothing is flagged. One result per text; parts are one."""
    given = request.get("input")
    model = str(request.get("model") or MODERATION_MODEL)
    result = {
        "flagged": False,
        "categories": dict.fromkeys(_CATEGORIES, False),
        "category_scores": dict.fromkeys(_CATEGORIES, 0.0),
        "category_applied_input_types": {name: ["text"] for name in _CATEGORIES},
    }
    texts = [item for item in sequence(given) if isinstance(item, str)]
    body = {
        "id": f"modr-{uuid.uuid4().hex}",
        "model": reply.model or model,
        "results": [result] * max(1, len(texts)),
    }
    prompt = _moderated_tokens(given, count)
    charge = Charge(model, Consumed(prompt_tokens=prompt))
    return Answer(charges=(charge,), body=json.dumps(body).encode())


def _moderated_tokens(given: object, count: tokens.Count) -> int:
    """Count texts, a text, or the parts of one message."""
    parts = sequence(given)
    if parts and mapping(parts[0]):
        return tokens.input_tokens({"content": given}, count)
    return tokens.input_tokens(given, count)


def _inputs(given: object) -> int:
    """Return how many inputs there are: a text or an array of tokens is one."""
    items = sequence(given)
    return 1 if not items or isinstance(items[0], int) else len(items)


def _vector(request: Mapping[str, object]) -> object:
    dimensions = request.get("dimensions")
    size = dimensions if isinstance(dimensions, int) else _DIMENSIONS
    vector = [1.0] + [0.0] * (size - 1)
    if request.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{size}f", *vector)).decode()
    return vector
