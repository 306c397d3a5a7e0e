"""OpenAI: what is gated of its API, and who else wraps the methods that lead there."""

from __future__ import annotations

import sys
from typing import Any

from tollspan import semconv
from tollspan.instrumentation._stainless import ApiPath, Sdk

from ._chat import ChatShape
from ._completions import CompletionsShape
from ._embeddings import EmbeddingsShape
from ._file_batches import BATCH_FILES
from ._hosts import HOSTS
from ._moderations import ModerationsShape
from ._paths import billable_path
from ._response_jobs import RESPONSE_JOBS, asks_for_job
from ._responses import ResponsesShape
from ._videos import VIDEO_JOBS, VideosShape
from ._videos import asks_for_job as asks_for_video

__all__ = ["OPENAI"]

_CHAT = "openai.resources.chat.completions.completions"
_RESPONSES = "openai.resources.responses.responses"


def _twins(module: str, owner: str, *methods: str) -> tuple[tuple[str, str, str], ...]:
    """Name methods of a class and of its asynchronous twin."""
    return tuple(
        [(module, name, method) for name in (owner, f"Async{owner}") for method in methods]
    )


def _stream_source(stream: Any) -> Any:
    """Return the inner iterator of the SDK's own streams: it spares a generator a chunk."""
    package: Any = sys.modules["openai"]
    if type(stream) in (package.Stream, package.AsyncStream):
        return getattr(stream, "_iterator", stream)
    return stream


OPENAI = Sdk(
    package="openai",
    provider=semconv.PROVIDER_OPENAI,
    hosts=HOSTS,
    clients=("OpenAI", "AsyncOpenAI"),
    paths=(
        ApiPath(
            path="/chat/completions",
            shape=ChatShape,
            methods=(
                "chat.completions.create",
                "chat.completions.parse",
                "chat.completions.stream",
            ),
            owners=_twins(_CHAT, "Completions", "create", "parse"),
            asks_for_usage=True,
            turns="messages",
        ),
        ApiPath(
            path="/responses",
            shape=ResponsesShape,
            methods=("responses.create", "responses.parse", "responses.stream"),
            owners=_twins(_RESPONSES, "Responses", "create", "parse"),
            asks_for_job=asks_for_job,
            turns="input",
        ),
        ApiPath(
            path="/responses/compact",
            shape=ResponsesShape,
            methods=("responses.compact",),
            owners=_twins(_RESPONSES, "Responses", "compact"),
        ),
        ApiPath(
            path="/completions",
            shape=CompletionsShape,
            methods=("completions.create",),
            owners=_twins("openai.resources.completions", "Completions", "create"),
            asks_for_usage=True,
        ),
        ApiPath(
            path="/embeddings",
            shape=EmbeddingsShape,
            methods=("embeddings.create",),
            owners=_twins("openai.resources.embeddings", "Embeddings", "create"),
        ),
        ApiPath(
            path="/moderations",
            shape=ModerationsShape,
            methods=("moderations.create",),
            owners=_twins("openai.resources.moderations", "Moderations", "create"),
        ),
        ApiPath(
            path="/videos",
            shape=VideosShape,
            methods=("videos.create", "videos.create_and_poll"),
            owners=_twins("openai.resources.videos", "Videos", "create"),
            asks_for_job=asks_for_video,
        ),
        ApiPath(
            path="/batches",
            shape=ChatShape,
            methods=("batches.create",),
            owners=(),
            batch_file="input_file_id",
        ),
    ),
    jobs=(*RESPONSE_JOBS, *VIDEO_JOBS),
    files=BATCH_FILES,
    billable=billable_path,
    stream_source=_stream_source,
    sockets=tuple(
        [
            f"openai.resources.{name}"
            for name in (
                "beta.realtime.realtime",
                "beta.responses.responses",
                "live.forks",
                "live.live",
                "live.sideband",
                "realtime.realtime",
                "realtime.translations.translations",
                "responses.responses",
            )
        ]
    ),
)
"""Everything of the OpenAI SDK that the gate knows."""
