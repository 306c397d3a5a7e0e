"""All that is wrong in a document is found at once, and nothing that is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import find_problems, parse_rules
from tollspan.usage import ConfigError

WRONG = """\
version: 1
defaults: {on_unbounded: perhaps, on_nothing: 3}
budgets:
  - {id: a, limit: 10 EUR}
  - {id: b, limit: 1 USD, window: moonth}
  - {id: fine, limit: 1 USD}
  - {id: c, limit: 1 USD, per: [custmer], where: {model: []}}
  - {limit: 1 USD}
  - {id: fine, limit: 1 USD}
hosts: []
buckets: []
"""
BUDGETS = ("{id: %s, limit: 1 USD}", "{id: %s}", "{id: %s, limit: -1 USD}", "{id: %s, limit: x}")


def test_every_error_is_found_once_in_the_order_of_its_line() -> None:
    found = find_problems(WRONG, source="t.yaml")
    assert [one.line for one in found] == [2, 2, 4, 5, 7, 8, 9, 10, 11]
    for one in found:
        assert one.text.startswith(f"t.yaml:{one.line}: ")
    assert "two budgets have the id 'fine'" in found[6].text
    assert "unknown key `buckets`" in found[-1].text


def test_the_first_error_of_reading_is_among_them() -> None:
    with pytest.raises(ConfigError) as error:
        parse_rules(WRONG, source="t.yaml")
    assert str(error.value) in {one.text for one in find_problems(WRONG, source="t.yaml")}


def test_what_was_cut_out_is_not_missed() -> None:
    text = "version: 1\nbudgets:\n  - {id: a, limit: 1 USD, window: {every: never}}\n"
    (found,) = find_problems(text)
    assert found.line == 3
    assert "`window.every` is 'never'" in found.text


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("", None, id="empty"),
        pytest.param("version: 1\nbudgets: [\n", 2, id="no YAML"),
        pytest.param("version: 2\nbudgets: 3\n", 1, id="another version"),
        pytest.param("budgets: 3\n", 1, id="no version"),
        pytest.param("[]\n", 1, id="no mapping"),
    ],
)
def test_of_what_is_no_such_document_one_thing_is_said(text: str, line: int | None) -> None:
    (found,) = find_problems(text)
    assert found.line == line
    with pytest.raises(ConfigError) as error:
        parse_rules(text)
    assert found.text == str(error.value)


def test_what_is_wrong_in_a_plan_does_not_make_wrong_who_has_it() -> None:
    text = (
        "version: 1\nplans:\n  pro:\n    budgets:\n      - {id: a, limit: 1 EUR}\n"
        "      - {id: b, limit: 1 USD}\nassign: {acme: pro, bolt: free}\n"
    )
    found = find_problems(text)
    assert [one.line for one in found] == [5, 7]
    assert "'free'" in found[1].text


def test_a_wrong_entry_that_stands_twice_is_told_once() -> None:
    text = "version: 1\nbudgets:\n  - &wrong {id: a, limit: 1 EUR}\n  - *wrong\n"
    (found,) = find_problems(text)
    assert found.line == 3


def test_a_document_that_contains_itself_ends() -> None:
    text = "version: 1\nbudgets: &all\n  - *all\n  - {id: a, limit: 1 EUR}\n"
    assert 1 <= len(find_problems(text)) <= 2


def test_there_is_an_end_to_the_list() -> None:
    wrong = "".join(f"  - {{id: b{number}}}\n" for number in range(500))
    assert len(find_problems(f"version: 1\nbudgets:\n{wrong}")) == 50


@given(st.lists(st.sampled_from(BUDGETS), max_size=8))
def test_a_budget_is_told_of_when_it_is_wrong_and_only_then(budgets: list[str]) -> None:
    lines = "".join(f"  - {text % f'b{number}'}\n" for number, text in enumerate(budgets))
    found = find_problems(f"version: 1\nbudgets:{' []' if not budgets else ''}\n{lines}")
    wrong = [number + 3 for number, text in enumerate(budgets) if text != BUDGETS[0]]
    assert [one.line for one in found] == wrong
