"""`@attribution(...)`: functions of every kind, and values out of their arguments."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tollspan.api import AttributionError, argument, attribution, bind
from tollspan.attribution import capture
from tollspan.usage import Attribution


def who(*_: object, **__: object) -> Attribution:
    """Return who pays."""
    return capture()


@attribution(customer="acme")
def plain(a: int, *, b: str = "x") -> str | None:
    """Say who pays."""
    return capture().customer


@attribution(customer="acme")
async def coroutine() -> str | None:
    """Say who pays, before and after waiting."""
    before = capture().customer
    await asyncio.sleep(0)
    assert capture().customer == before
    return before


@attribution(customer="acme")
def generator() -> Iterator[str | None]:
    """Say who pays."""
    yield capture().customer


@attribution(customer="acme")
async def async_generator() -> AsyncIterator[str | None]:
    """Say who pays."""
    yield capture().customer


def test_each_kind_of_function_is_attributed_while_it_runs() -> None:
    async def main() -> None:
        assert await coroutine() == "acme"
        assert [each async for each in async_generator()] == ["acme"]
        assert capture().customer is None

    assert plain(1) == "acme"
    assert list(generator()) == ["acme"]
    asyncio.run(main())
    assert capture().customer is None


def test_a_decorated_function_is_still_of_its_kind() -> None:
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)
    assert inspect.isgenerator(generator())
    assert plain.__name__ == "plain"
    assert plain.__doc__ == "Say who pays."
    assert str(inspect.signature(plain)) == "(a: 'int', *, b: 'str' = 'x') -> 'str | None'"
    assert pickle.loads(pickle.dumps(plain)) is plain


def test_an_error_passes_through_and_ends_the_attribution() -> None:
    error = KeyError("x")

    @attribution(customer="acme")
    def fail() -> None:
        raise error

    @attribution(customer="acme")
    async def fail_later() -> None:
        await asyncio.sleep(0)
        raise error

    with pytest.raises(KeyError) as caught:
        fail()
    assert caught.value is error
    with pytest.raises(KeyError) as caught:
        asyncio.run(fail_later())
    assert caught.value is error
    assert capture().customer is None


def test_a_decorator_says_its_word_inside_the_block_of_the_call() -> None:
    with attribution(customer="other", team="red"):
        assert attribution(customer="acme")(who)() == Attribution(customer="acme", team="red")


# --- values out of arguments ---


def by_argument(
    function: Callable[..., Any], name: str = "customer_id"
) -> Callable[..., Attribution]:
    """Decorate a function with its parameter as the customer."""
    found: Callable[..., Attribution] = attribution(customer=argument(name))(function)
    return found


def test_a_parameter_is_found_however_it_is_given() -> None:
    def ask(question: str, customer_id: str | None = "default") -> Attribution:
        return capture()

    decorated = by_argument(ask)
    assert decorated("?", "a").customer == "a"
    assert decorated("?", customer_id="b").customer == "b"
    assert decorated("?").customer == "default"
    with attribution(customer="around"):
        assert decorated("?", None).customer == "around"


def test_a_parameter_may_be_keyword_only_or_among_the_others() -> None:
    def only(*args: object, customer_id: str) -> Attribution:
        return capture()

    def others(*args: object, **kwargs: object) -> Attribution:
        return capture()

    assert by_argument(only)(1, 2, customer_id="a").customer == "a"
    assert by_argument(others)(1, 2, customer_id="a").customer == "a"
    assert by_argument(others)(1, 2, other="a").customer is None


class Service:
    """Has methods of every kind."""

    @attribution(customer=argument("customer_id"))
    def ask(self, customer_id: str) -> str | None:
        """Say who pays."""
        return capture().customer

    @attribution(customer=argument("customer_id"))
    @classmethod
    def of_class(cls, customer_id: str) -> str | None:
        """Say who pays."""
        assert cls is Service
        return capture().customer

    @staticmethod
    @attribution(customer=argument("customer_id"))
    def under_static(customer_id: str) -> str | None:
        """Say who pays."""
        return capture().customer

    @attribution(customer=argument("customer_id"))
    @staticmethod
    def static(customer_id: str) -> str | None:
        """Say who pays."""
        return capture().customer

    @attribution(customer=lambda self, question: f"{self.name}-{question}")
    async def later(self, question: str) -> str | None:
        """Say who pays."""
        return capture().customer

    @attribution(customer="acme")
    async def __call__(self) -> str | None:
        """Say who pays."""
        return capture().customer

    name = "acme"


def test_methods_are_attributed_by_their_arguments() -> None:
    service = Service()
    assert service.ask("a") == "a"
    assert Service.of_class("a") == service.of_class(customer_id="a") == "a"
    assert Service.static("a") == service.static("a") == Service.under_static("a") == "a"
    assert asyncio.run(service.later("b")) == "acme-b"


def test_a_function_may_find_the_value_out_from_all_arguments() -> None:
    @attribution(
        customer=lambda request, tier: request["user"],
        tags={"tier": argument("tier"), "upper": lambda request, tier: tier.upper()},
    )
    def ask(request: dict[str, str], tier: str = "free") -> Attribution:
        return capture()

    assert ask({"user": "a"}).customer == "a"
    assert ask(request={"user": "b"}, tier="pro").tags == (("tier", "pro"), ("upper", "PRO"))


def test_generators_take_values_out_of_their_arguments_too() -> None:
    @attribution(customer=argument("name"))
    def count(name: str) -> Iterator[str | None]:
        yield capture().customer

    @attribution(customer=argument("name"))
    async def count_later(name: str) -> AsyncIterator[str | None]:
        yield capture().customer

    async def main() -> list[str | None]:
        return [each async for each in count_later("b")]

    assert list(count("a")) == ["a"]
    assert asyncio.run(main()) == ["b"]


def test_objects_that_can_be_called_and_partial_functions_keep_their_kind() -> None:
    called: Any = attribution(team="red")(Service())
    assert inspect.iscoroutinefunction(called)
    assert asyncio.run(called()) == "acme"
    part = attribution(team="red")(functools.partial(who, 1))
    assert part().team == "red"
    later = attribution(customer=argument("customer"))(functools.partial(who_later, customer="a"))
    assert asyncio.run(later()) == "a"


async def who_later(customer: str) -> str | None:
    """Return who pays."""
    return capture().customer


def test_a_wrong_value_is_raised_by_the_call() -> None:
    ran: list[str] = []

    def run(customer_id: str) -> None:
        ran.append(customer_id)

    decorated = by_argument(run)
    with pytest.raises(AttributionError, match="customer has 0 characters"):
        decorated("")
    with pytest.raises(AttributionError, match="customer is of type int"):
        decorated(7)
    assert ran == []


def test_an_error_of_the_finding_function_is_the_users_own() -> None:
    @attribution(customer=lambda request: request["user"])
    def ask(request: dict[str, str]) -> None:
        raise AssertionError

    with pytest.raises(KeyError, match="user"):
        ask({})


def test_arguments_that_do_not_fit_are_the_functions_own_complaint() -> None:
    def ask(customer_id: str) -> None: ...

    decorated = by_argument(ask)
    with pytest.raises(TypeError, match=r"ask\(\) missing 1 required positional argument"):
        decorated()


def test_a_parameter_that_is_not_there_is_said_when_decorating() -> None:
    def ask(question: str, *args: str, user: str) -> None: ...

    def none() -> None: ...

    def any_of(**kwargs: str) -> None: ...

    with pytest.raises(AttributionError, match=r"no such parameter; it has: question, user"):
        by_argument(ask)
    with pytest.raises(AttributionError, match=r"argument\('args'\)"):
        by_argument(ask, "args")
    with pytest.raises(AttributionError, match=r"argument\('kwargs'\)"):
        by_argument(any_of, "kwargs")
    with pytest.raises(AttributionError, match=r"it has: none"):
        by_argument(none)


@pytest.mark.parametrize("given", [Service, 7, None], ids=["class", "number", "none"])
def test_what_is_no_function_is_refused(given: Any) -> None:
    with pytest.raises(AttributionError, match="is no function"):
        attribution(customer="a")(given)
    with pytest.raises(AttributionError, match="is no function"):
        bind(given)


def test_a_function_that_does_not_say_its_parameters_needs_a_block() -> None:
    with pytest.raises(AttributionError, match="use a block"):
        by_argument(getattr)
