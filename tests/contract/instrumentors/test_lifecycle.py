"""Putting our wrappers on and taking them off again."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wrapt

from tests import harness
from tests.contract.instrumentors.kit import Kit
from tests.contract.instrumentors.kits import KITS
from tests.contract.instrumentors.stage import Caller, Stage, Wires, open_stage
from tests.contract.instrumentors.ways import Way
from tollspan.api import BudgetExceededError

Functions = dict[tuple[type, str], Any]
ONE_OF_EACH = list({kit.sdk.package: kit for kit in KITS}.values())
each_sdk = pytest.mark.parametrize("kit", ONE_OF_EACH, ids=lambda kit: kit.sdk.package)


def functions(kit: Kit) -> Functions:
    """Return every function in the classes of an SDK's core, and in its clients."""
    base = importlib.import_module(f"{kit.package.__name__}._base_client")
    clients = [getattr(kit.package, name) for name in kit.sdk.clients]
    owners = [*[one for one in vars(base).values() if inspect.isclass(one)], *clients]
    for module, name, _ in (owner for path in kit.sdk.paths for owner in path.owners):
        if importlib.util.find_spec(module) is not None:  # the oldest SDK has fewer
            owners.append(getattr(importlib.import_module(module), name))
    return {
        (owner, name): function
        for owner in owners
        for name, function in vars(owner).items()
        if callable(function)
    }


def changed(before: Functions, after: Functions) -> set[str]:
    """Return the names of functions that are not the same objects."""
    assert before.keys() == after.keys()
    return {
        f"{owner.__name__}.{name}"
        for (owner, name), function in before.items()
        if after[owner, name] is not function
    }


@each_sdk
def test_uninstrumenting_restores_the_very_same_functions(kit: Kit, tmp_path: Path) -> None:
    before = functions(kit)
    for _ in range(2):
        with harness.installed(tmp_path / "home"):
            wrapped = changed(before, functions(kit))
            assert {"SyncAPIClient.request", "AsyncAPIClient.request"} <= wrapped
        assert changed(before, functions(kit)) == set()


@each_sdk
def test_wrapped_functions_keep_their_signature(kit: Kit, tmp_path: Path) -> None:
    before = functions(kit)
    with harness.installed(tmp_path / "home"):
        after = functions(kit)
        for place, original in before.items():
            wrapped = after[place]
            if wrapped is original:
                continue
            assert inspect.signature(wrapped) == inspect.signature(original)
            is_async = inspect.iscoroutinefunction(original)
            assert inspect.iscoroutinefunction(wrapped) == is_async
            assert wrapped.__name__ == original.__name__
            assert wrapped.__doc__ == original.__doc__
            assert wrapped.__wrapped__ is original


def test_calls_are_gated_again_after_a_second_install(
    kit: Kit, way: Way, wires: Wires, tmp_path: Path
) -> None:
    with open_stage(kit, way, wires, tmp_path / "first") as first:
        caller = first.caller()
        first.way.run(caller.ask())
        first.priced_event()
    with (
        open_stage(kit, way, wires, tmp_path / "second", limit="0.000000001") as second,
        pytest.raises(BudgetExceededError),
    ):
        second.run(Caller.ask)


def wrap_over(owner: Any, name: str) -> Callable[[], None]:
    """Wrap a function as another instrumentor would; return what takes it off."""
    ours = owner.__dict__[name]

    def wrapper(wrapped: Any, instance: object, args: Any, kwargs: Any) -> object:
        return wrapped(*args, **kwargs)

    setattr(owner, name, wrapt.FunctionWrapper(ours, wrapper))
    return lambda: setattr(owner, name, ours)


def test_what_somebody_wrapped_over_us_passes_through_once_we_are_gone(
    kit: Kit, way: Way, wires: Wires, tmp_path: Path
) -> None:
    base = importlib.import_module(f"{kit.package.__name__}._base_client")
    owners = [base.SyncAPIClient, base.AsyncAPIClient]
    originals = [owner.__dict__["request"] for owner in owners]
    try:
        with open_stage(kit, way, wires, tmp_path) as stage:
            for owner in owners:
                wrap_over(owner, "request")
            stage.run(Caller.ask)
            stage.priced_event()
        with kit.fake() as fake:
            stage.fake = fake
            assert type(stage.run(Caller.ask)) is kit.answer
            assert fake.hits == 1
        assert len(harness.usage_events(tmp_path / "home")) == 1
    finally:
        for owner, original in zip(owners, originals, strict=True):
            owner.request = original


def test_nothing_passes_the_gate_unseen(stage: Stage) -> None:
    stage.run(Caller.ask)
    stage.run(Caller.raw)
    assert len(stage.events()) == 2
    assert stage.sightings() == {}


def test_a_client_made_before_us_is_gated(kit: Kit, way: Way, wires: Wires, tmp_path: Path) -> None:
    with kit.fake() as fake:
        early = kit.clients[way.is_async](
            api_key="key", http_client=wires.get(kit, way), **kit.address(fake.root_url)
        )
        with open_stage(kit, way, wires, tmp_path) as stage:
            way.run(Caller(kit, way, early).ask())
            assert len(stage.events()) == 1


def test_a_copy_of_a_client_is_gated(stage: Stage) -> None:
    async def work(caller: Caller) -> None:
        copy = caller.client.with_options(max_retries=1)
        await Caller(caller.kit, caller.way, copy).ask()

    stage.run(work)
    stage.priced_event()
