"""What is posted below nothing is in the audit log, once for each question, and nothing else is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tollspan.budget import ChargeWords, SettlementWords, SettleQuestion
from tollspan.server.authority import noting

names = st.text("abc", min_size=1, max_size=3)
amounts = st.integers(-2, 2)


def question(posted: dict[str, list[int]]) -> SettleQuestion:
    return SettleQuestion(
        settlements=tuple(
            SettlementWords(
                call_id=name,
                charges=tuple(ChargeWords(budget_id="org", posted=str(one)) for one in amounts),
            )
            for name, amounts in posted.items()
        )
    )


@given(st.dictionaries(names, st.lists(amounts, max_size=3), max_size=5))
def test_credits_of_a_question_are_one_entry_that_counts_them_all(
    posted: dict[str, list[int]],
) -> None:
    credited = {name: amounts for name, amounts in posted.items() if min(amounts, default=0) < 0}
    found = list(noting.credits_noted(question(posted)))
    assert len(found) == min(1, len(credited))
    for one in found:
        assert one.details["count"] == sum(map(len, credited.values()))
        again = dict(reversed(posted.items()))
        if len(credited) == 1:
            assert one.subject == next(iter(credited))
        else:
            (said,) = noting.credits_noted(question(again))
            assert one.subject[-18:] == said.subject[-18:]


@given(st.sets(names, min_size=1, max_size=4), st.sets(names, min_size=1, max_size=4))
def test_credits_of_other_calls_are_another_entry(first: set[str], second: set[str]) -> None:
    (one,), (two,) = (
        list(noting.credits_noted(question({name: [-1] for name in sorted(names)})))
        for names in (first, second)
    )
    assert (one.subject == two.subject) == (first == second)
