"""A decorated function passes for what it is; without tollspan it is as if it were bare."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast, get_type_hints

import pytest

from tests import harness
from tests.integration.tools.stage import Stage
from tollspan.api import BudgetExceededError, report_usage, tool
from tollspan.launch import install_or_raise, read_settings, uninstall


@tool(name="lookup", cost="0.1 USD")
def plain(question: str, /, limit: int = 3, *, exact: bool = False) -> list[str]:
    """Look something up."""
    return [question] * limit if exact else []


@tool
async def coroutine(question: str) -> str:
    """Look something up, later."""
    return question


@tool()
def generator(count: int) -> Generator[int, str, bool]:
    """Yield numbers."""
    yield from range(count)
    return True


@tool()
async def async_generator(count: int) -> AsyncGenerator[int, str]:
    """Yield numbers, later."""
    for number in range(count):
        yield number


ALL: list[Any] = [plain, coroutine, generator, async_generator]


@pytest.mark.parametrize("function", ALL, ids=lambda each: each.__name__)
def test_a_decorated_function_has_its_name_its_words_and_its_signature(function: Any) -> None:
    bare = function.__wrapped__
    assert function.__name__ == bare.__name__
    assert function.__qualname__ == bare.__qualname__
    assert function.__module__ == __name__
    assert function.__doc__ == bare.__doc__
    assert inspect.signature(function) == inspect.signature(bare)
    assert get_type_hints(function) == get_type_hints(bare)
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize(
    "kind",
    [
        inspect.isfunction,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ],
)
def test_a_decorated_function_is_of_its_kind(kind: Any) -> None:
    assert [kind(one) for one in ALL] == [kind(one.__wrapped__) for one in ALL]


@pytest.mark.parametrize("is_installed", [True, False])
def test_results_are_the_same_objects(request: pytest.FixtureRequest, is_installed: bool) -> None:
    if is_installed:
        request.getfixturevalue("stage")
    assert plain("a", exact=True) == ["a", "a", "a"]
    assert asyncio.run(coroutine("b")) == "b"
    assert inspect.isgenerator(generator(2))
    assert list(generator(2)) == [0, 1]

    async def main() -> list[int]:
        assert inspect.isasyncgen(async_generator(2))
        return [number async for number in async_generator(2)]

    assert asyncio.run(main()) == [0, 1]


class Shop:
    """Methods of all kinds."""

    @tool(cost="0.1 USD")
    def method(self) -> object:
        """Return the object."""
        return self

    @classmethod
    @tool(cost="0.1 USD")
    def of_class(cls) -> object:
        """Return the class."""
        return cls

    @staticmethod
    @tool(cost="0.1 USD")
    def static() -> str:
        """Return a word."""
        return "static"


def test_methods_work_as_methods(stage: Stage) -> None:
    shop = Shop()
    assert (shop.method(), Shop.of_class(), shop.static()) == (shop, Shop, "static")
    assert [event.call.request.model for event in stage.events()] == [
        "method",
        "of_class",
        "static",
    ]


class Late:
    """An object that is called and answers later."""

    async def __call__(self, word: str) -> str:
        return word


def test_objects_that_are_called_need_a_name(stage: Stage) -> None:
    with pytest.raises(ValueError, match="give it one, name='search' say"):
        tool(Late())
    late = tool(name="late", cost="0.1 USD")(Late())
    bound = tool(name="part", cost="0.1 USD")(functools.partial(plain.__wrapped__, "a"))  # type: ignore[attr-defined]  # functools' own
    assert asyncio.run(late("word")) == "word"
    assert bound(exact=True) == ["a", "a", "a"]
    assert [event.cost.amount_nanousd for event in stage.events()] == [100_000_000] * 2


def test_a_tool_decorated_before_install_works_after_it_and_stops_with_uninstall(
    tmp_path: Path,
) -> None:
    assert plain("a") == []
    harness.write_rules(tmp_path, limit="0.15")
    install_or_raise(read_settings({"TOLLSPAN_HOME": str(tmp_path)}))
    try:
        assert plain("a") == []
        with pytest.raises(BudgetExceededError):
            plain("a")
    finally:
        uninstall()
    assert plain("a") == []
    report_usage(tool="lookup", metric="tool_calls", value=1)
    assert len(harness.usage_events(tmp_path)) == 1


@pytest.mark.parametrize(
    ("said", "error", "text"),
    [
        pytest.param(
            {"cost": 0.005}, TypeError, "such as '0.005 USD' or a Decimal, not float", id="f"
        ),
        pytest.param({"cost": 1}, TypeError, "or a Decimal, not int", id="int"),
        pytest.param(
            {"cost": "1 EUR"}, ValueError, "`cost` is '1 EUR'; expected an amount in USD", id="e"
        ),
        pytest.param({"cost": "-1 USD"}, ValueError, "'-1 USD'; expected an amount", id="negative"),
        pytest.param({"cost": Decimal("NaN")}, ValueError, "'NaN'; expected an amount", id="nan"),
        pytest.param({"cost": "0.0000000000001"}, ValueError, "at most 12 decimals", id="too fine"),
        pytest.param({"cost": "2000000000"}, ValueError, "the dearest is", id="too dear"),
        pytest.param({"price": "1 USD"}, ValueError, "name it, unit='pages'", id="price of what"),
        pytest.param({"max_units": 3}, ValueError, "name it, unit='pages'", id="most of what"),
        pytest.param({"unit": "tool_calls"}, ValueError, "`cost`, and needs no unit", id="calls"),
        pytest.param({"unit": "Pages"}, ValueError, "'Pages'; expected a unit", id="unit"),
        pytest.param(
            {"unit": "pages", "max_units": -1}, ValueError, "`max_units` is -1", id="most"
        ),
        pytest.param({"name": ""}, ValueError, "1 to 256 characters", id="no name"),
        pytest.param({"name": "a" * 257}, ValueError, "1 to 256 characters", id="long name"),
        pytest.param({"call_id": "nothing"}, ValueError, "no such parameter", id="no parameter"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_decorated(
    said: dict[str, Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        tool(**said)(lambda: None)


@pytest.mark.parametrize("wrong", [Shop.__dict__["static"], Shop.__dict__["of_class"], Shop, 3])
def test_only_functions_are_decorated(wrong: Any) -> None:
    with pytest.raises(TypeError, match="@tool decorates a function"):
        tool(wrong)


def test_importing_tool_loads_no_sdk() -> None:
    code = """
    import sys
    from tollspan.api import report_usage, tool

    @tool(cost="1 USD")
    def lookup():
        return 1

    assert lookup() == 1
    report_usage(tool="ocr", metric="pages", value=1)
    print({"openai", "anthropic", "mcp", "opentelemetry.sdk"} & set(sys.modules))
    """
    command = [sys.executable, "-c", inspect.cleandoc(code)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout == "set()\n"


def test_our_own_failure_costs_a_log_line_and_no_call(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(cast("Any", stage.installed.lifecycle).gate, "authorize", fail)
    monkeypatch.setattr(cast("Any", stage.installed.lifecycle).gate, "authorize_async", fail)

    async def main() -> list[int]:
        return [number async for number in async_generator(2)]

    assert plain("a") == []
    assert list(generator(2)) == [0, 1]
    assert asyncio.run(coroutine("b")) == "b"
    assert asyncio.run(main()) == [0, 1]
    assert len(stage.events()) == 4
