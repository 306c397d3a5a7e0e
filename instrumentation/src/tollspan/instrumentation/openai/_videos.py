"""Reads videos: POST /videos, and what becomes of them: they are made after the answer.

Source: openai-python 3.57, `resources/videos.py`, `types/video.py`, `types/video_create_params.py`:
what is not given, and the sizes. OpenAI itself has announced the end of its API; Azure serves it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from tollspan import semconv
from tollspan.instrumentation._hosts import Route
from tollspan.instrumentation._jobs import JobEnd
from tollspan.instrumentation._shapes import Reading, error_word, is_given, text
from tollspan.instrumentation._stainless import JobPath
from tollspan.usage import Request, Response, Usage

from ._requests import addressed
from ._unread import UnreadReader

_UNIT = "video_out_ms"
_MODEL, _SECONDS, _SIZE = "sora-2", 4, "720x1280"
_KNOWN = frozenset({semconv.PROVIDER_OPENAI, "azure.ai.openai"})
_ENDED = frozenset({"completed", "failed"})
_SIZES = re.compile(r"([0-9]{2,5})x([0-9]{2,5})")


class VideosShape:
    """A text in, some seconds of video out, which are what is billed."""

    is_free: ClassVar[bool] = False

    def request(self, body: Mapping[str, object], route: Route, *, is_stream: bool) -> Request:
        """Read what is asked: so many seconds of a size.

        A length that can't be read is left out, and nothing bounds what is priced by its length.
        """
        asked = body if is_given(body.get("model")) else {**body, "model": _MODEL}
        seconds = body.get("seconds")
        if not is_given(seconds) and route.provider in _KNOWN and not route.is_assumed:
            seconds = _SECONDS
        length = _milliseconds(seconds)
        unit = _unit(body.get("size") if is_given(body.get("size")) else _SIZE)
        return addressed(
            asked, route, operation=semconv.OPERATION_GENERATE_CONTENT, is_stream=is_stream
        )(
            max_output_tokens=0,
            quantities=() if length is None else ((unit, length),),
        )

    def limited(self, body: Mapping[str, object], request: Request) -> Mapping[str, object] | None:  # noqa: ARG002 - the protocol's
        """Limit nothing: no tokens are written."""
        return None

    def answer(self, answer: Any) -> Reading:
        """Read a `Video`: what it used is known when it is complete."""
        return read_video(answer)

    def reader(self, request: Request, *, hides_usage: bool) -> UnreadReader:  # noqa: ARG002
        """Return a reader that reads nothing: videos are not streamed."""
        return UnreadReader()


def read_video(answer: Any) -> Reading:
    """Read a video as far as it is made; of one that failed, nobody says what it cost."""
    status = text(getattr(answer, "status", None))
    response = Response(
        id=text(getattr(answer, "id", None)),
        model=text(getattr(answer, "model", None)),
        finish_reasons=(status,) if status is not None and status in _ENDED else (),
    )
    length = _milliseconds(getattr(answer, "seconds", None))
    if status == "completed" and length is not None:
        unit = _unit(getattr(answer, "size", None))
        return Reading(Usage(quantities=((unit, length),)), response)
    why = None
    if status == "failed":
        why = error_word(getattr(getattr(answer, "error", None), "code", None))
    return Reading(Usage(status="unknown"), response, error_type=why)


def read_end(answer: Any) -> JobEnd | None:
    """Say whether a video that was asked for is made, and how long it is."""
    reading = read_video(answer)
    if reading.response.id is None or not reading.response.finish_reasons:
        return None
    return JobEnd(reading.response.id, lambda _: reading)


def asks_for_job(body: Mapping[str, object]) -> bool:  # noqa: ARG001 - the protocol's
    """Say that every video is a job."""
    return True


def _milliseconds(seconds: object) -> int | None:
    """Return a number of whole seconds, or its text, in milliseconds; None for anything else."""
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdecimal():
        seconds = int(seconds[:9])
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
        return None
    return int(seconds) * 1_000


def _unit(size: object) -> str:
    """Name the unit of a size as the price book does: by the shorter side, `video_out_ms:720p`."""
    match = _SIZES.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        return _UNIT
    return f"{_UNIT}:{min(int(match[1]), int(match[2]))}p"


VIDEO_JOBS = (JobPath(method="get", path=re.compile(r"/videos/([^/]+)$"), read=read_end),)
"""Where the SDK asks what has become of a video."""
