"""What the hooks do with an SDK that is not as they know it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from anthropic import Anthropic, AnthropicBedrock

from tollspan.instrumentation import Funnel, Lifecycle, Sdk, SpanEmitter
from tollspan.instrumentation.anthropic import ANTHROPIC

NAME = "an_sdk_of_the_future"
SDK = Sdk(
    package=NAME,
    provider="somebody",
    hosts={},
    clients=("Client",),
    paths=(),
    billable=lambda method, url: url,
    stream_source=lambda stream: stream,
)


@pytest.fixture
def base_client() -> Iterator[ModuleType]:
    """An SDK whose core has been renamed."""
    package, module = ModuleType(NAME), ModuleType(f"{NAME}._base_client")
    sys.modules[NAME], sys.modules[module.__name__] = package, module
    yield module
    del sys.modules[NAME], sys.modules[module.__name__]


def seen_by_hooks() -> list[tuple[str, str]]:
    """Apply the hooks and take them off again; return what they could not do."""
    seen: list[tuple[str, str]] = []
    no_calls = SimpleNamespace(spans=SpanEmitter(tracer=lambda: None, recorder=None))
    funnel = Funnel(SDK, cast("Lifecycle", no_calls), lambda kind, name: seen.append((kind, name)))
    funnel.apply()
    funnel.remove()
    return seen


def test_a_funnel_that_is_gone_is_said(base_client: ModuleType) -> None:
    assert seen_by_hooks() == [
        ("unwrapped", f"{NAME}.SyncAPIClient.request"),
        ("unwrapped", f"{NAME}.AsyncAPIClient.request"),
    ]


def test_retries_that_can_not_be_counted_are_said(base_client: ModuleType) -> None:
    def request(self: object) -> None:
        """Send."""

    for name in ("SyncAPIClient", "AsyncAPIClient"):
        setattr(base_client, name, type(name, (), {"request": request}))
    assert [name for _, name in seen_by_hooks()] == [
        f"{NAME}.SyncAPIClient._sleep_for_retry",
        f"{NAME}.AsyncAPIClient._sleep_for_retry",
    ]
    assert cast("Any", base_client).SyncAPIClient.__dict__["request"] is request


class Mine(AnthropicBedrock):
    """A program's own client."""


class Own(Anthropic):
    """The same, of Anthropic's own API."""


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Anthropic, None),
        (Own, None),
        (AnthropicBedrock, "AnthropicBedrock"),
        (Mine, "AnthropicBedrock"),
    ],
)
def test_clients_of_other_platforms_are_left_out_by_what_they_are(
    kind: type, name: str | None
) -> None:
    assert ANTHROPIC.left_out is not None
    assert ANTHROPIC.left_out(object.__new__(kind)) == name
