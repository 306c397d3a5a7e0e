"""`with attribution(...)`: what is in force in blocks, nested and shared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.api import AttributionError, ConfigError, argument, attribution
from tollspan.attribution import capture, set_default
from tollspan.usage import Attribution, merge_attributions

DIMENSIONS = ("customer", "session", "user", "agent", "feature", "step", "team", "project")
NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=8).filter(lambda name: name[0].isalnum())
VALUES = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12),
)
STATEMENTS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(DIMENSIONS, VALUES),
        "tags": st.dictionaries(NAMES, VALUES, max_size=6),
    },
)


def value_of(said: dict[str, Any]) -> Attribution:
    """Return what a statement alone says."""
    set_default(Attribution())
    with attribution(**said) as found:
        return found


@pytest.fixture(autouse=True)
def no_default() -> Iterator[None]:
    """Start with nothing said, and leave nothing behind."""
    set_default(Attribution())
    assert capture() == Attribution()
    yield
    set_default(Attribution())


def test_a_block_says_who_pays_until_it_ends() -> None:
    with attribution(customer="acme", tags={"tier": "free"}) as in_force:
        assert capture() is in_force
        assert in_force == Attribution(customer="acme", tags=(("tier", "free"),))
        assert capture() is capture()
    assert capture() == Attribution()


def test_every_dimension_can_be_said() -> None:
    with attribution(
        customer="1", session="2", user="3", agent="4", feature="5", step="6", team="7", project="8"
    ):
        found = capture()
    assert [getattr(found, name) for name in DIMENSIONS] == list("12345678")


def test_the_inner_block_wins_dimension_by_dimension_and_tag_by_tag() -> None:
    with attribution(customer="a", team="red", tags={"tier": "free", "region": "eu"}):
        with attribution(customer="b", step="plan", tags={"tier": "pro", "z": "1"}):
            assert capture() == Attribution(
                customer="b",
                team="red",
                step="plan",
                tags=(("region", "eu"), ("tier", "pro"), ("z", "1")),
            )
        assert capture().customer == "a"
        assert capture().step is None


def test_none_says_nothing_and_leaves_what_is_around() -> None:
    with (
        attribution(customer="a", tags={"tier": "free"}),
        attribution(customer=None, tags={"tier": None}),
    ):
        assert capture() == Attribution(customer="a", tags=(("tier", "free"),))


@given(st.lists(STATEMENTS, max_size=4), STATEMENTS)
def test_nested_blocks_say_the_last_word_of_each_dimension(
    statements: list[dict[str, Any]], default: dict[str, Any]
) -> None:
    expected: dict[str, str] = {}
    tags: dict[str, str] = {}
    for said in [default, *statements]:
        expected |= {
            name: value for name, value in said.items() if name != "tags" and value is not None
        }
        tags |= {name: value for name, value in said.get("tags", {}).items() if value is not None}
    set_default(value_of(default))
    with ExitStack() as blocks:
        for said in statements:
            blocks.enter_context(attribution(**said))
        assert capture() == Attribution(
            **expected, tags=tuple(sorted(tags.items())), budgets=(), finishing=False
        )


@given(STATEMENTS, STATEMENTS, STATEMENTS)
def test_merging_is_associative_and_keeps_tags_sorted(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    a, b, c = value_of(one), value_of(two), value_of(three)
    left = merge_attributions(merge_attributions(a, b), c)
    assert left == merge_attributions(a, merge_attributions(b, c))
    assert list(left.tags) == sorted(dict(left.tags).items())
    assert merge_attributions(a, Attribution()) is a
    assert merge_attributions(Attribution(), a) == a


def test_a_block_stands_over_the_default_even_over_one_that_is_set_later() -> None:
    set_default(Attribution(team="red", customer="nobody", tags=(("tier", "free"),)))
    with attribution(customer="a"):
        assert capture() == Attribution(team="red", customer="a", tags=(("tier", "free"),))
        set_default(Attribution(team="blue", service="shop"))
        assert capture() == Attribution(team="blue", customer="a", service="shop")
        assert capture() is capture()
    assert capture() == Attribution(team="blue", service="shop")


def test_an_error_ends_the_block_and_goes_on() -> None:
    with pytest.raises(KeyError), attribution(customer="a"):
        raise KeyError
    assert capture().customer is None


def test_one_object_may_be_entered_again_and_by_threads_at_once() -> None:
    block = attribution(customer="a")
    seen: list[str | None] = []
    here = threading.Barrier(4, timeout=10)

    def work() -> None:
        with block:
            here.wait()
            with attribution(customer="b"), block:
                seen.append(capture().customer)
            here.wait()
            seen.append(capture().customer)
        seen.append(capture().customer)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert sorted(map(str, seen)) == ["None"] * 4 + ["a"] * 8
    with block, block:
        pass
    assert capture().customer is None


def test_a_block_that_is_left_too_early_takes_those_within_along() -> None:
    outer, inner = attribution(customer="a"), attribution(step="b")
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert capture() == Attribution()
    inner.__exit__(None, None, None)
    assert capture() == Attribution()


class Tier(StrEnum):
    """An enumeration that is text."""

    FREE = "free"


def test_text_of_an_enumeration_is_taken_as_its_text() -> None:
    with attribution(team=Tier.FREE, tags={Tier.FREE: Tier.FREE}):
        found = capture()
    assert (type(found.team), type(found.tags[0][0]), type(found.tags[0][1])) == (str, str, str)
    assert found == Attribution(team="free", tags=(("free", "free"),))


@pytest.mark.parametrize(
    "value",
    ["x", "x" * 256, "Łódź Spółka z o.o.", "a\u00a0b", "\u0645\u06cc\u200c\u062e", "😀" * 256, " "],
    ids=range(7),
)
def test_what_a_value_may_be(value: str) -> None:
    with attribution(customer=value, tags={"t": value}):
        assert capture() == Attribution(customer=value, tags=(("t", value),))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"customer": ""}, "customer has 0 characters; expected 1 to 256", id="empty"),
        pytest.param({"user": "x" * 257}, "user has 257 characters; expected 1 to 256", id="long"),
        pytest.param({"team": "a\nb"}, r"team has the control character U\+000A at", id="newline"),
        pytest.param({"team": "\x7f"}, r"control character U\+007F", id="delete"),
        pytest.param({"team": "a\u2028"}, r"U\+2028 at position 1", id="a line's end"),
        pytest.param({"team": "\udc80"}, r"U\+DC80", id="half a character"),
        pytest.param({"step": 7}, r"step is of type int; expected text: write str", id="a number"),
        pytest.param({"step": b"a"}, "step is of type bytes", id="bytes"),
        pytest.param({"tags": {"tier": ""}}, "tag tier has 0 characters", id="empty tag"),
        pytest.param({"tags": {"tier": 1}}, "tag tier is of type int", id="a number in a tag"),
        pytest.param({"tags": {"": "a"}}, "a tag's name is ''; expected 1 to 64", id="no name"),
        pytest.param({"tags": {"a b": "a"}}, "a tag's name is 'a b'", id="a blank in a name"),
        pytest.param({"tags": {"a" * 65: "a"}}, "a tag's name is 'aaa", id="a long name"),
        pytest.param({"tags": {1: "a"}}, "a tag's name is 1", id="a name that is no text"),
        pytest.param({"tags": "tier=free"}, "tags is of type str; expected a mapping", id="text"),
        pytest.param(
            {"tags": {str(number): "a" for number in range(33)}}, "tags has 33 tags", id="many tags"
        ),
        pytest.param(
            {"tags": {"a\n": argument("x")}}, r"a tag's name is 'a\\n'", id="of an argument"
        ),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_and_the_fix(
    said: Mapping[str, Any], expected: str
) -> None:
    with pytest.raises(AttributionError, match=expected) as caught:
        attribution(**said)
    assert isinstance(caught.value, ConfigError)
    assert isinstance(caught.value, ValueError)


def test_an_error_does_not_show_the_value() -> None:
    for value in ("sk-secret-" + "x" * 300, "sk-secret-\x00"):
        with pytest.raises(AttributionError) as caught:
            attribution(customer=value)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", [argument("x"), lambda x: x], ids=["argument", "function"])
@pytest.mark.parametrize("place", ["customer", "tag.tier"])
def test_a_block_has_no_arguments(value: Callable[..., str], place: str) -> None:
    said: dict[str, Any] = (
        {"customer": value} if place == "customer" else {"tags": {"tier": value, "ok": "x"}}
    )
    with pytest.raises(AttributionError, match=f"{place} is to be found out from arguments"):
        attribution(**said).__enter__()
    assert capture() == Attribution()
