"""A document that unfolds to very much is refused before it is built."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.usage import ConfigError, check_document_size


def size(text: str) -> int:
    """Return how many values a document has, as the check counts them."""
    for most in range(200):
        try:
            check_document_size(text, source="t", most_values=most)
        except ConfigError:
            continue
        return most
    raise AssertionError("more than 200")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", 0, id="nothing"),
        pytest.param("a", 1, id="a value"),
        pytest.param("{a: b}", 3, id="a mapping"),
        pytest.param("[a, [b, c]]", 5, id="lists"),
        pytest.param("[&a x, *a, *a]", 4, id="aliases of a value"),
        pytest.param("[&a [x, y], *a]", 7, id="aliases of a list"),
        pytest.param("[&a [x], &b [*a, *a], *b]", 1 + 2 + 5 + 5, id="aliases of aliases"),
        pytest.param("[&a x, &a [y, z], *a]", 1 + 1 + 3 + 3, id="an anchor anew"),
        pytest.param("[a, b", 0, id="what is no YAML is told by others"),
    ],
)
def test_values_are_counted_with_what_aliases_stand_for(text: str, expected: int) -> None:
    if text == "[a, b":
        check_document_size(text, source="t", most_values=3)
    else:
        assert size(text) == expected


def test_what_is_in_itself_is_refused_with_its_line() -> None:
    with pytest.raises(ConfigError, match=r"^t:2: `\*a` stands for what it is in$"):
        check_document_size("x: &a\n  - *a\n", source="t", most_values=100)


def test_a_few_lines_that_stand_for_billions_are_refused_at_once() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    with pytest.raises(ConfigError, match="more than 1,000 values"):
        check_document_size("\n".join(lines), source="t", most_values=1_000)


@given(st.recursive(st.just("x"), lambda inner: st.lists(inner, max_size=4), max_leaves=30))
def test_without_aliases_it_is_the_number_of_values(tree: object) -> None:
    def count(part: object) -> int:
        return 1 + sum(map(count, part)) if isinstance(part, list) else 1

    def write(part: object) -> str:
        return f"[{', '.join(map(write, part))}]" if isinstance(part, list) else str(part)

    assert size(write(tree)) == count(tree)
