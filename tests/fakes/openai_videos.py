"""OpenAI's videos: accepted at once, made later.

Shapes after `types/video.py` of openai-python 3.57; values are made up.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping

from tests.fakes import tokens
from tests.fakes.books import Charge, Consumed
from tests.fakes.dialect import Answer, RefusedError
from tests.fakes.replies import Reply

_LENGTHS, _SIZES = ("4", "8", "12"), ("720x1280", "1280x720", "1024x1792", "1792x1024")


def videos(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/videos`; one whose prompt begins with `fail` fails, for nothing."""
    model = str(request.get("model", "sora-2"))
    seconds, size = str(request.get("seconds", "4")), str(request.get("size", "720x1280"))
    if seconds not in _LENGTHS or size not in _SIZES:
        raise RefusedError("Invalid value: 'seconds' or 'size'.")
    queued: dict[str, object] = {
        "id": f"video_{uuid.uuid4().hex}",
        "object": "video",
        "model": model,
        "seconds": seconds,
        "size": size,
        "status": "queued",
        "progress": 0,
        "created_at": int(time.time()),
        "error": None,
    }
    made = {**queued, "status": "completed", "progress": 100, "completed_at": int(time.time())}
    unit = "video_out_ms"
    if model == "sora-2-pro":
        unit += ":720p" if "720" in size else ":1024p"
    charges: tuple[Charge, ...] = (Charge(model, Consumed(units={unit: int(seconds) * 1_000})),)
    if str(request.get("prompt")).startswith("fail"):
        error = {"code": "moderation_blocked", "message": "made up"}
        made, charges = {**queued, "status": "failed", "error": error}, ()
    later = (str(queued["id"]), json.dumps(made).encode())
    return Answer(charges=charges, body=json.dumps(queued).encode(), later=later)
