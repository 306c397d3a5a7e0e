"""The doctor looks at the SDKs of this Python: which are gated, and which are not."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distributions, version

from opentelemetry.instrumentation.dependencies import get_dependency_conflicts

from tollspan.launch import (
    SDKS,
    AnthropicInstrumentor,
    MCPInstrumentor,
    OpenAIInstrumentor,
)

from ._checks import Check, Patient, good, warning

_SUPPORTED = {
    one.supported.partition(" ")[0]: one.supported
    for one in (OpenAIInstrumentor, AnthropicInstrumentor, MCPInstrumentor)
}
_MCP = "mcp"
# SDKs of models that are known and not gated: not by themselves, at least. Those that call through
# a gated SDK are not here.
_OTHERS = (
    "aioboto3", "boto3", "cohere", "google-cloud-aiplatform", "google-genai",
    "google-generativeai", "groq", "huggingface-hub", "litellm", "mistralai", "ollama",
    "replicate", "together", "voyageai", "xai-sdk",
)  # fmt: skip


def _gated(patient: Patient) -> Iterator[Check]:  # noqa: ARG001 - as every check
    for sdk in SDKS:
        methods = sum(len(path.methods) for path in sdk.paths if not path.shape().is_free)
        yield _package(sdk.package, f"{methods} methods")
    yield _package(_MCP, "calls of tools")


def _package(package: str, what: str) -> Check:
    """Say of an installed package whether what it does is gated."""
    check_id = f"sdk.{package}"
    supported = _SUPPORTED[package]
    versions = supported.partition(" ")[2]
    try:
        found = version(package)
    except PackageNotFoundError:
        return good(check_id, f"{package} is not installed in this Python")
    if get_dependency_conflicts([supported]) is not None:
        return warning(
            check_id,
            f"{package} {found} is not a supported version ({versions}); nobody has tested "
            "whether it is gated",
            f"pip install '{supported.replace(' ', '')}'",
        )
    return good(
        check_id,
        f"{package} {found} (supported: {versions}): {what} gated, metered and priced",
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
