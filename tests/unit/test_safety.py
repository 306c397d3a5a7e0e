"""The guard: our own bugs are counted and logged, everything else passes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator

import pytest

from tollspan import safety
from tollspan.safety import Guard, GuardOfOthers


@pytest.fixture(autouse=True)
def counts() -> Iterator[None]:
    """Leave the process's counts as they were."""
    before = dict(safety.internal_errors)
    yield
    safety.internal_errors.clear()
    safety.internal_errors.update(before)


def test_a_failure_is_swallowed_counted_and_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    guard = Guard("test.once")
    with caplog.at_level(logging.ERROR, "tollspan"):
        for _ in range(3):
            with guard:
                raise KeyError("mine")
        with guard:
            raise ValueError("another")
    assert safety.internal_errors[("test.once", "KeyError")] == 3
    assert safety.internal_errors[("test.once", "ValueError")] == 1
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "test.once" in caplog.text


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), asyncio.CancelledError(), GeneratorExit()]
)
def test_what_is_not_ours_passes_unchanged(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, Guard("test.passes"):
        raise error
    assert caught.value is error
    assert not any(place == "test.passes" for place, _ in safety.internal_errors)


def test_a_block_that_goes_well_leaves_no_trace() -> None:
    with Guard("test.well"):
        pass
    assert not any(place == "test.well" for place, _ in safety.internal_errors)


def test_a_guard_may_be_used_within_itself() -> None:
    guard = Guard("test.nested")
    with guard:
        with guard:
            raise KeyError("inner")
        raise ValueError("outer")
    assert safety.internal_errors[("test.nested", "KeyError")] == 1
    assert safety.internal_errors[("test.nested", "ValueError")] == 1


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), SystemExit(3), asyncio.CancelledError(), GeneratorExit()]
)
def test_what_others_raise_goes_no_further(error: BaseException) -> None:
    with GuardOfOthers("test.others"):
        raise error
    assert safety.internal_errors["test.others", type(error).__name__] == 1


def test_the_programs_own_interrupt_passes_a_guard_of_others() -> None:
    with pytest.raises(KeyboardInterrupt), GuardOfOthers("test.interrupt"):
        raise KeyboardInterrupt
