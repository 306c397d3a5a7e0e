"""The doctor looks at the SDKs of this Python: which are gated, and which are not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

from tollspan.launch import SDKS, AnthropicInstrumentor, OpenAIInstrumentor

from ._checks import Check, Patient, good, warning

_SUPPORTED = {
    one.supported.partition(" ")[0]: one.supported
    for one in (OpenAIInstrumentor, AnthropicInstrumentor)
}
# SDKs of models that are known and not gated: not by themselves, at least. Those that call through
# a gated SDK are not here.
_OTHERS = (
    "aioboto3", "boto3", "cohere", "google-cloud-aiplatform", "google-genai",
    "google-generativeai", "groq", "huggingface-hub", "litellm", "mistralai", "ollama",
    "replicate", "together", "voyageai", "xai-sdk",
)  # fmt: skip


def _gated(patient: Patient) -> Iterator[Check]:  # noqa: ARG001 - as every check
    for sdk in SDKS:
        check_id = f"sdk.{sdk.package}"
        supported = _SUPPORTED[sdk.package]
        versions = supported.partition(" ")[2]
        try:
            found = version(sdk.package)
        except PackageNotFoundError:
            yield good(check_id, f"{sdk.package} is not installed in this Python")
            continue
        if get_dependency_conflicts([supported]) is not None:
            yield warning(
                check_id,
                f"{sdk.package} {found} is not a supported version ({versions}); nobody has tested "
                "whether it is gated",
                f"pip install '{supported.replace(' ', '')}'",
            )
            continue
        methods = sum(len(path.methods) for path in sdk.paths if not path.shape().is_free)
        yield good(
            check_id,
            f"{sdk.package} {found} (supported: {versions}): {methods} methods gated, metered and "
            "priced",
        )


def _others(patient: Patient) -> Iterator[Check]:  # noqa: ARG001 - as every check
    installed = {(one.name or "").lower().replace("_", "-"): one.version for one in distributions()}
    found = [f"{name} {installed[name]}" for name in _OTHERS if name in installed]
    if found:
        yield warning(
            "sdk.others",
            f"installed, and not gated when a program calls models through it: {', '.join(found)}",
            "call it through the openai SDK where docs/reference/providers.md names its host",
        )
        return
    yield good("sdk.others", "no SDK of models is installed that is known and not gated")


CHECKS = (_gated, _others)
