"""Who makes spans of calls to models, and how each of them counts."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

OURS = "tollspan"
"""The scope of our own spans."""
_MOST_SCOPES = 256
_NUMBER = re.compile(r"\d{1,9}")


class Dialect(msgspec.Struct, frozen=True, kw_only=True):
    """How one instrumentor speaks.

    Attributes:
        scope: What the names of its scopes begin with.
        name: For people.
        sdk: The package whose methods it wraps; None where it is a framework, or wraps its own.
        excludes_cache: Its input tokens leave out what was read from and written to a cache.
        adds_to_streams: Output tokens that it counts too much in a stream.
        is_lossy: It leaves out what changes the price, so its usage is an estimate.
        swallows: It goes on with the call when a span processor raises at its span's start.
        writes_text: Its counts are text, as its library has no other attributes.
        names_methods: Behind the provider it names a method, after a dot: `openai.chat`.
        measured: The version whose counts were looked at, where they are odd: those of a later one
            may be mended, so they are an estimate. `""` where they are as the conventions say.
    """

    scope: str
    name: str
    sdk: str | None = None
    excludes_cache: bool = False
    adds_to_streams: int = 0
    is_lossy: bool = False
    swallows: bool = False
    writes_text: bool = False
    names_methods: bool = False
    measured: str = ""


_OFFICIAL = "opentelemetry.instrumentation.genai."
_LLMETRY = "opentelemetry.instrumentation."
_LLMETRY_JS = "@traceloop/instrumentation-"
_INFERENCE = "openinference.instrumentation."
_INFERENCE_JS = "@arizeai/openinference-instrumentation-"
OUR_DIALECT = Dialect(scope=OURS, name="tollspan")
DIALECTS = (
    Dialect(scope=f"{_OFFICIAL}openai", name="OpenTelemetry, OpenAI", sdk="openai"),
    Dialect(scope=f"{_OFFICIAL}anthropic", name="OpenTelemetry, Anthropic", sdk="anthropic"),
    Dialect(
        scope=f"{_OFFICIAL}bedrock",
        name="OpenTelemetry, Bedrock",
        excludes_cache=True,
        measured="1.3",
    ),
    # Without streaming it tells neither cache nor reasoning.
    Dialect(
        scope=f"{_OFFICIAL}langchain", name="OpenTelemetry, LangChain", is_lossy=True, swallows=True
    ),
    Dialect(scope=_OFFICIAL, name="OpenTelemetry"),
    Dialect(scope="opentelemetry.instrumentation.google_genai", name="OpenTelemetry, Google"),
    Dialect(scope=f"{_LLMETRY}openai", name="OpenLLMetry, OpenAI", sdk="openai"),
    Dialect(
        scope=f"{_LLMETRY}anthropic",
        name="OpenLLMetry, Anthropic",
        sdk="anthropic",
        adds_to_streams=1,
        measured="0.62.4",
    ),
    Dialect(
        scope=f"{_LLMETRY}bedrock",
        name="OpenLLMetry, Bedrock",
        excludes_cache=True,
        measured="0.62.4",
    ),
    Dialect(
        scope=f"{_LLMETRY}langchain", name="OpenLLMetry, LangChain", is_lossy=True, swallows=True
    ),
    Dialect(scope=_LLMETRY, name="OpenLLMetry", is_lossy=True),
    Dialect(scope=f"{_INFERENCE}openai", name="OpenInference, OpenAI", sdk="openai", swallows=True),
    Dialect(
        scope=f"{_INFERENCE}anthropic",
        name="OpenInference, Anthropic",
        sdk="anthropic",
        swallows=True,
    ),
    Dialect(scope=_INFERENCE, name="OpenInference", swallows=True),
    Dialect(
        scope="com.anthropic.sdk.python", name="Anthropic's SDK", sdk="anthropic", swallows=True
    ),
    # JavaScript's tell sums alone, and their frameworks more.
    Dialect(
        scope=f"{_LLMETRY_JS}openai", name="OpenLLMetry.js, OpenAI", sdk="openai", is_lossy=True
    ),
    Dialect(
        scope=f"{_LLMETRY_JS}anthropic",
        name="OpenLLMetry.js, Anthropic",
        sdk="anthropic",
        is_lossy=True,
    ),
    Dialect(scope=_LLMETRY_JS, name="OpenLLMetry.js", is_lossy=True),
    Dialect(
        scope=f"{_INFERENCE_JS}openai", name="OpenInference.js, OpenAI", sdk="openai", is_lossy=True
    ),
    Dialect(scope=_INFERENCE_JS, name="OpenInference.js", is_lossy=True),
    Dialect(
        scope="@opentelemetry/instrumentation-openai",
        name="OpenTelemetry.js, OpenAI",
        sdk="openai",
        is_lossy=True,
    ),
    Dialect(
        scope="io.opentelemetry.openai-java",
        name="OpenTelemetry, OpenAI in Java",
        sdk="openai",
        is_lossy=True,
    ),
    Dialect(scope="org.springframework.boot", name="Spring AI", writes_text=True, is_lossy=True),
    Dialect(scope="", name="unknown", is_lossy=True),
)
"""From the narrowest to the widest: the first whose scope fits speaks."""
# Vercel's AI SDK has a scope of two letters, with which others may begin.
_BY_WHOLE_NAME = {
    "ai": Dialect(scope="ai", name="AI SDK by Vercel", names_methods=True, is_lossy=True),
    OURS: OUR_DIALECT,
}


@lru_cache(maxsize=_MOST_SCOPES)
def dialect_of(scope: str, version: str = "") -> Dialect:
    """Return who speaks in a scope.

    Args:
        scope: The scope's name.
        version: Its version; `""` where nobody says it.
    """
    found = _BY_WHOLE_NAME.get(scope)
    if found is None:
        found = next(each for each in DIALECTS if scope.startswith(each.scope))
    if found.measured and _numbers(version) > _numbers(found.measured):
        return msgspec.structs.replace(found, is_lossy=True)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    """Return the first numbers of a version, at most three: `(1, 3)` of `1.3b0`."""
    found: list[int] = []
    for part in version.split(".", 3)[:3]:
        number = _NUMBER.match(part)
        if number is None:
            break
        found.append(int(number[0]))
    return tuple(found)
