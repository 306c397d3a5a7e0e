"""`attribution(...)`: a block or a decorator that says who pays."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import TracebackType
from typing import Any, TypeVar, cast

import msgspec
from opentelemetry.context import Context, get_current

from tollspan.usage import TAG_PREFIX, Attribution, AttributionError, read_attribution

from ._carrying import carry
from ._current import capture, stating
from ._frames import Deriving, enter, leave

F = TypeVar("F", bound=Callable[..., object])


class Argument(msgspec.Struct, frozen=True):
    """Stands for the value of a decorated function's parameter; made by `argument`."""

    name: str


Value = str | Argument | Callable[..., str | None] | None
"""What a dimension may be given: text, or in a decorator what is found out from the arguments."""


def argument(name: str) -> Argument:
    """Return what stands for the parameter `name` of the function that is decorated.

    ```python
    @attribution(customer=argument("customer_id"))
    def answer(question: str, customer_id: str) -> str: ...
    ```
    """
    return Argument(name)


def attribution(  # noqa: PLR0913 - the dimensions, all by keyword
    *,
    customer: Value = None,
    session: Value = None,
    user: Value = None,
    agent: Value = None,
    feature: Value = None,
    step: Value = None,
    team: Value = None,
    project: Value = None,
    tags: Mapping[str, Value] | None = None,
    finishing: bool = False,
) -> Attributed:
    """Say who pays for the calls in a `with` block, or in a function that is decorated.

    Blocks nest: the inner one wins, dimension by dimension and tag by tag. None says nothing, and
    leaves what is said around it. A value has 1 to 256 characters and no control characters.

    `finishing` marks calls that end a piece of work: budgets with a `finish_reserve` keep a part
    for them. Within such a block all calls are marked.

    In a decorator a value may be `argument("name")`, or a function that is called with the
    arguments of the one that is decorated, defaults included, and returns the value.

    Raises:
        AttributionError: A value is wrong; the text names the dimension and the fix. Where it
            depends on arguments, the decorated function raises it.
    """
    values = {
        "customer": customer,
        "session": session,
        "user": user,
        "agent": agent,
        "feature": feature,
        "step": step,
        "team": team,
        "project": project,
        "finishing": finishing or None,
    }
    return Attributed(values, {} if tags is None else tags)


def finishing() -> Attributed:
    """Mark the calls in a `with` block, or in a function that is decorated, as finishing.

    They end a piece of work that was begun: what is kept for that, `finish_reserve` of a budget, is
    for them alone.
    """
    return attribution(finishing=True)


class Attributed:
    """What `attribution` returns: enter it with `with`, or decorate functions with it.

    One object may be used often, nested, and by several threads and tasks at the same time.
    """

    def __init__(self, values: Mapping[str, object], tags: object) -> None:
        self._values = values
        self._tags = tags
        self._open = [name for name, value in _all(values, tags) if _is_open(value)]
        # What is known now is checked now: of the rest, a tag's name.
        self._said = read_attribution(_filled(values, tags, _leave_open))

    def __enter__(self) -> Attribution:
        """Enter the block; return the attribution that is in force in it."""
        if self._open:
            raise AttributionError(
                f"{self._open[0]} is to be found out from arguments, and a block has none: "
                "give it the value, or decorate a function"
            )
        context = stating(get_current(), self._said)
        enter(self, context)
        return capture(context)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        leave(self)

    def __call__(self, function: F) -> F:
        """Return a function of the same kind and signature, whose calls are attributed.

        A generator is attributed while it runs, and whoever takes its items is not.

        Raises:
            AttributionError: It is no function, or has no such parameter.
        """
        if not self._open:
            deriving: Deriving = partial(_stating, self._said)
            return carry(function, lambda args, kwargs: deriving)  # noqa: ARG005 - a plan
        signature = _signature(function)
        for name, value in _all(self._values, self._tags):
            if isinstance(value, Argument):
                _check_parameter(name, value.name, signature)

        def plan(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Deriving:
            try:
                bound = signature.bind(*args, **kwargs)
            except TypeError:  # the function itself is going to say so
                return lambda around: around
            bound.apply_defaults()
            find = partial(_find, bound)
            return partial(_stating, read_attribution(_filled(self._values, self._tags, find)))

        return carry(function, plan)


def _stating(said: Attribution, around: Context) -> Context:
    return stating(around, said)


def _all(values: Mapping[str, object], tags: object) -> Iterator[tuple[str, object]]:
    """Yield every value by its dimension."""
    yield from values.items()
    if isinstance(tags, Mapping):
        for name, value in cast("Mapping[object, object]", tags).items():
            yield f"{TAG_PREFIX}{name}", value


def _filled(
    values: Mapping[str, object], tags: object, fill: Callable[[object], object]
) -> dict[str, object]:
    """Return a statement in which what is open is filled in."""
    filled = {name: fill(value) if _is_open(value) else value for name, value in values.items()}
    if isinstance(tags, Mapping):
        named = cast("Mapping[object, object]", tags)
        tags = {name: fill(value) if _is_open(value) else value for name, value in named.items()}
    return {**filled, "tags": tags}


def _is_open(value: object) -> bool:
    return isinstance(value, Argument) or callable(value)


def _leave_open(value: object) -> str:  # noqa: ARG001 - it is filled in later
    return "-"


def _find(bound: inspect.BoundArguments, value: Any) -> object:
    """Find a value out from the arguments of a call."""
    if not isinstance(value, Argument):
        return value(*bound.args, **bound.kwargs)
    if value.name in bound.arguments:
        return bound.arguments[value.name]
    for parameter in bound.signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            return bound.arguments[parameter.name].get(value.name)
    return None


def _signature(function: object) -> inspect.Signature:
    """Return what a function may be called with.

    Raises:
        AttributionError: Nobody knows.
    """
    inner: Any = getattr(function, "__func__", function)
    try:
        return inspect.signature(inner)
    except (TypeError, ValueError) as error:
        raise AttributionError(f"{function!r} does not say its parameters: use a block") from error


def _check_parameter(name: str, parameter: str, signature: inspect.Signature) -> None:
    """See that the decorated function has a parameter.

    Raises:
        AttributionError: It has none of that name; the text says which there are.
    """
    many = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    single = [one.name for one in signature.parameters.values() if one.kind not in many]
    takes_any = any(one.kind is many[1] for one in signature.parameters.values())
    if parameter not in single and (not takes_any or parameter in signature.parameters):
        raise AttributionError(
            f"{name} is argument({parameter!r}), and the function has no such parameter; "
            f"it has: {', '.join(single) or 'none'}"
        )
