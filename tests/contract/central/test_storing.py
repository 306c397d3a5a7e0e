"""Central ledgers store every event once, whatever is sent twice, by whom, and when."""

from __future__ import annotations

import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.contract.central.making import usage_event
from tests.contract.ledger.making import new_id, refused
from tollspan.ledger.central import LATE, SUSPECTED, CentralLedger, EventQuery
from tollspan.usage import Entry, Fact, LedgerError, UsageEvent, event_id

ALL = EventQuery(most=10_000)


def statuses(ledger: CentralLedger, *facts: Fact, tenant: str = "acme") -> list[str]:
    return [one.status for one in ledger.events.store(tenant, facts)]


def stored(ledger: CentralLedger, tenant: str = "acme") -> list[Entry]:
    return [one.fact for one in ledger.reader.events(tenant, ALL)]


def spent(ledger: CentralLedger, tenant: str = "acme") -> int:
    usage = [fact for fact in stored(ledger, tenant) if isinstance(fact, UsageEvent)]
    return sum(fact.cost.amount_nanousd or 0 for fact in usage)


def test_an_event_is_read_as_it_was_stored(ledger: CentralLedger) -> None:
    facts: list[Fact] = [usage_event(customer="ann", session="s 1"), refused(new_id())]
    assert statuses(ledger, *facts) == ["accepted", "accepted"]
    assert sorted(map(event_id, stored(ledger))) == sorted(map(event_id, facts))
    assert all(fact in facts for fact in stored(ledger))


def test_what_is_sent_again_is_a_duplicate_in_one_batch_and_in_another(
    ledger: CentralLedger,
) -> None:
    first, second = usage_event(), usage_event()
    assert statuses(ledger, first, first, second) == ["accepted", "duplicate", "accepted"]
    assert statuses(ledger, second, first) == ["duplicate", "duplicate"]
    assert spent(ledger) == 10


def test_another_event_of_the_same_id_is_a_conflict_and_changes_nothing(
    ledger: CentralLedger,
) -> None:
    name = new_id()
    right, forged = usage_event(name, cost=5), usage_event(name, cost=1)
    assert statuses(ledger, right, forged) == ["accepted", "conflict"]
    assert statuses(ledger, forged) == ["conflict"]
    assert spent(ledger) == 5


def test_a_conflict_takes_no_name_from_others(ledger: CentralLedger) -> None:
    name = new_id()
    assert statuses(ledger, usage_event(name, cost=5)) == ["accepted"]
    assert statuses(ledger, usage_event(name, cost=7, answer="r1")) == ["conflict"]
    assert statuses(ledger, usage_event(cost=7, answer="r1")) == ["accepted"]
    assert spent(ledger) == 12


def test_one_answer_that_two_saw_counts_once(ledger: CentralLedger) -> None:
    seen, again = usage_event(answer="r1"), usage_event(answer="r1")
    found = ledger.events.store("acme", [seen, again])
    assert [one.status for one in found] == ["accepted", "duplicate"]
    assert {one.of for one in found} == {event_id(seen)}
    assert statuses(ledger, again) == ["duplicate"]  # and stays that when it is sent again
    assert spent(ledger) == 5


def test_an_answer_that_comes_again_with_other_usage_counts_and_is_marked(
    ledger: CentralLedger,
) -> None:
    ledger.events.store("acme", [usage_event(answer="r1", cost=5)])
    (other,) = ledger.events.store("acme", [usage_event(answer="r1", cost=6)])
    assert (other.status, other.marks) == ("accepted", (SUSPECTED,))
    assert [one.marks for one in ledger.reader.events("acme", ALL)] == [(), (SUSPECTED,)]
    assert spent(ledger) == 11


def test_tenants_may_use_the_same_names(ledger: CentralLedger) -> None:
    seen = usage_event(answer="r1")
    assert statuses(ledger, seen) == ["accepted"]
    assert statuses(ledger, seen, tenant="other") == ["accepted"]
    assert (spent(ledger), spent(ledger, "other"), spent(ledger, "third")) == (5, 5, 0)


def test_what_comes_late_is_stored_at_its_time_and_marked(ledger: CentralLedger) -> None:
    late = usage_event(age_seconds=86_400)
    (became,) = ledger.events.store("acme", [late])
    assert became.marks == (LATE,)
    until = late.call.started_at_unix_ns + 1
    (found,) = ledger.reader.events("acme", EventQuery(until_unix_ns=until))
    assert (found.fact, found.marks) == (late, (LATE,))


def test_a_sum_beyond_63_bits_is_refused_and_never_rounded(ledger: CentralLedger) -> None:
    first, second = usage_event(cost=1 << 62), usage_event(cost=1 << 62)
    assert statuses(ledger, first) == ["accepted"]
    with pytest.raises(LedgerError):
        ledger.events.store("acme", [second])
    assert stored(ledger) == [first]
    assert statuses(ledger, usage_event()) == ["accepted"]


def test_an_empty_batch_is_nothing(ledger: CentralLedger) -> None:
    assert statuses(ledger) == []


def test_forgotten_names_are_those_before_a_time_only(ledger: CentralLedger) -> None:
    old, new = usage_event(age_seconds=90_000, answer="r1"), usage_event(answer="r2")
    ledger.events.store("acme", [old, new])
    assert ledger.forget_names(old.call.started_at_unix_ns + 1) == 2
    assert statuses(ledger, new) == ["duplicate"]


def test_threads_that_send_the_same_at_once_store_it_once(ledger: CentralLedger) -> None:
    facts = [usage_event(answer=f"r{number}") for number in range(50)]
    found: list[list[str]] = []
    starting = threading.Barrier(6)

    def send(turned: bool) -> None:
        starting.wait()
        found.append(statuses(ledger, *(reversed(facts) if turned else facts)))

    threads = [threading.Thread(target=send, args=(bool(n % 2),)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = [status for one in found for status in one]
    assert (said.count("accepted"), said.count("duplicate")) == (50, 250)
    assert spent(ledger) == 250


sightings = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["r1", "r2", None]), st.integers(1, 2)),
    max_size=12,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(sightings, max_size=4))
def test_whatever_is_sent_again_changes_nothing(
    ledger: CentralLedger, batches: list[list[tuple[int, str | None, int]]]
) -> None:
    tenant = new_id()
    names = [new_id() for _ in range(5)]
    facts = [
        [usage_event(names[name], answer=answer, cost=cost) for name, answer, cost in batch]
        for batch in batches
    ]
    for batch in facts:
        ledger.events.store(tenant, batch)
    before = stored(ledger, tenant)
    assert len({event_id(fact) for fact in before}) == len(before)
    for batch in reversed(facts):
        again = ledger.events.store(tenant, list(reversed(batch)))
        assert all(one.status != "accepted" for one in again)
    assert stored(ledger, tenant) == before


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_show_every_event_once_in_order(
    ledger: CentralLedger,
    newest_first: bool,
) -> None:
    facts = [usage_event(age_seconds=number // 3) for number in range(25)]
    ledger.events.store("acme", facts)
    found: list[Entry] = []
    after = None
    while True:
        query = EventQuery(is_newest_first=newest_first, after=after, most=7)
        page = [one.fact for one in ledger.reader.events("acme", query)]
        found += page
        if len(page) < 7:
            break
        last = page[-1]
        assert isinstance(last, UsageEvent)
        after = (last.call.started_at_unix_ns, event_id(last))
    expected = sorted(facts, key=lambda one: (one.call.started_at_unix_ns, one.call.id))
    assert found == (expected[::-1] if newest_first else expected)


def test_events_are_found_by_what_they_say_and_by_what_they_do_not(ledger: CentralLedger) -> None:
    mine, other, nobody = (
        usage_event(customer="ann", feature="a"),
        usage_event(customer="bob", feature="a"),
        usage_event(feature="b"),
    )
    ledger.events.store("acme", [mine, other, nobody])

    def found(**values: str | None) -> list[Entry]:
        return [one.fact for one in ledger.reader.events("acme", EventQuery(values=values))]

    assert found(customer="ann") == [mine]
    assert found(customer=None) == [nobody]
    assert {event_id(fact) for fact in found(feature="a")} == {event_id(mine), event_id(other)}
    assert found(feature="a", customer="bob") == [other]
    assert found(kind="decision") == []
