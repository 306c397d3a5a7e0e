"""What budgets count besides money and all tokens: sides of tokens, quantities, time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.budget.test_plans import BOOK, World, a_call, a_tool
from tollspan.budget import BudgetGate, Closer, LeasedLedger, MemoryLedger, parse_rules
from tollspan.pricing import PriceBook, parse_overrides
from tollspan.usage import (
    BUDGET_UNITS,
    TOKEN_UNITS,
    TOOL_CALLS,
    BudgetExceededError,
    Call,
    UnboundedCallError,
    Usage,
)

CONSTANT = 1_024


def held(world: World, call: Call) -> list[tuple[str, int]]:
    """Return the units and amounts that a call holds."""
    decision = world.gate.authorize(call)
    assert decision.hold is not None, decision.denial
    return [(account.unit, amount) for account, amount in decision.hold.legs]


def searching(most: int | None) -> Call:
    """Make a call that may search the web, so often at most; None for no limit."""
    if most is None:
        return a_call(unlimited=("web_searches",))
    return a_call(quantities=(("web_searches", most),))


def test_input_and_output_are_counted_each_by_itself() -> None:
    world = World("id: in, limit: 9000 input tokens", "id: out, limit: 9000 output tokens")
    call = a_call()
    assert held(world, call) == [("input_tokens", 1_000 + CONSTANT), ("output_tokens", 100)]
    decision = world.gate.authorize(call)
    usage = Usage(input_uncached=5, cache_read=2, output=3, reasoning=4)
    event = world.end(call, decision, usage)
    assert [(one.unit, one.posted) for one in event.charges] == [
        ("input_tokens", 7),
        ("output_tokens", 7),
    ]


def test_a_limit_on_output_alone_does_not_ask_how_long_the_input_is() -> None:
    strict = "{on_unbounded: deny, on_unbounded_input: deny}"
    world = World("id: out, limit: 9000 output tokens", defaults=strict)
    assert held(world, a_call(unbounded=("url_media",))) == [("output_tokens", 100)]
    assert isinstance(world.make(a_call(max_output_tokens=None)), UnboundedCallError)
    world = World("id: in, limit: 900000 input tokens", defaults=strict)
    assert held(world, a_call(max_output_tokens=None)) == [("input_tokens", 1_000 + CONSTANT)]
    assert isinstance(world.make(a_call(unbounded=("url_media",))), UnboundedCallError)


def test_a_quantity_is_held_and_counted_as_the_request_and_the_answer_say() -> None:
    world = World("id: some, limit: 3 web searches")
    call = searching(2)
    decision = world.gate.authorize(call)
    assert world.stands(decision).held == 2
    event = world.end(call, decision, Usage(output=1, quantities=(("web_searches", 1),)))
    assert [(one.unit, one.posted, one.overrun) for one in event.charges] == [
        ("web_searches", 1, 0)
    ]
    denial = world.make(searching(3))
    assert isinstance(denial, BudgetExceededError)
    assert (denial.unit, denial.spent, denial.asked) == ("web_searches", 1, 3)
    assert "has 3 web searches: 1 web search spent" in str(denial)
    assert "may use up to 3 web searches" in str(denial)


def test_a_call_that_can_use_none_of_a_quantity_is_no_matter_of_its_budget() -> None:
    world = World("id: none, limit: 0 web searches", "id: images, limit: 0 images")
    assert world.make(a_call()) is None
    assert world.make(a_tool()) is None
    assert isinstance(world.make(searching(1)), BudgetExceededError)


def test_what_was_used_although_it_was_not_asked_for_is_counted_and_marked() -> None:
    world = World("id: some, limit: 3 web searches", "id: money, limit: 1 USD")
    call = a_call()
    decision = world.gate.authorize(call)
    event = world.end(call, decision, Usage(output=1, quantities=(("web_searches", 4),)))
    assert [(one.budget_id, one.posted, one.overrun) for one in event.charges][1:] == [
        ("some", 4, 4)
    ]
    assert event.marks == ("overrun",)
    assert isinstance(world.make(searching(1)), BudgetExceededError)
    assert world.make(a_call()) is None


def test_a_quantity_without_a_limit_is_held_as_for_money_or_refused() -> None:
    world = World("id: some, limit: 50 web searches")
    decision = world.gate.authorize(searching(None))
    assert world.stands(decision).held == 10
    strict = World("id: some, limit: 50 web searches", defaults="{on_unbounded: deny}")
    assert isinstance(strict.make(searching(None)), UnboundedCallError)
    none = PriceBook.load(overrides=parse_overrides("version: 1\nreserves: {web_searches: none}"))
    gate = BudgetGate(world.gate.rules, none, world.ledger)
    denial = gate.authorize(searching(None)).denial
    assert isinstance(denial, UnboundedCallError)
    assert "no_limit:web_searches" in str(denial)


def ocr(*, most: int | None, declared: int = 1_000) -> Call:
    """Make a call of a tool that counts documents, so many at most; None for no maximum."""
    counts = {TOOL_CALLS: 1} if most is None else {TOOL_CALLS: 1, "documents": most}
    return a_call(
        "ocr",
        provider="tool",
        operation="execute_tool",
        input_bytes=0,
        max_output_tokens=None,
        quantities=tuple(sorted(counts.items())),
        unlimited=("documents",) if most is None else (),
        declared=(("documents", declared),),
    )


def test_a_tools_own_unit_is_held_by_its_maximum() -> None:
    world = World("id: docs, where: {tool: ocr}, limit: 5 documents")
    call = ocr(most=4)
    decision = world.gate.authorize(call)
    assert world.stands(decision).held == 4
    world.end(call, decision, Usage(quantities=(("documents", 2), (TOOL_CALLS, 1))))
    assert world.stands(decision).posted == 2
    assert isinstance(world.make(ocr(most=4)), BudgetExceededError)
    denial = world.make(ocr(most=None))
    assert isinstance(denial, UnboundedCallError)
    assert "give @tool its max_units" in str(denial)


def test_seconds_are_all_that_is_heard_spoken_or_made_and_what_tools_count_so() -> None:
    world = World("id: time, limit: 90.5 seconds")
    call = a_call(quantities=(("audio_in_ms", 30_250), ("video_out_ms:1080p", 4_000)))
    decision = world.gate.authorize(call)
    assert world.stands(decision).held == 34_250
    usage = Usage(quantities=(("audio_in_ms", 30_000), ("video_out_ms:1080p", 4_000)))
    world.end(call, decision, usage)
    assert world.stands(decision).posted == 34_000
    tool = a_call("run", provider="tool", operation="execute_tool", quantities=(("seconds", 60),))
    denial = world.make(tool)
    assert isinstance(denial, BudgetExceededError)
    assert "has 90.5 seconds: 34 seconds spent" in str(denial)


def test_variants_of_a_quantity_are_counted_together() -> None:
    world = World("id: pictures, limit: 4 images")
    quantities = (("images:high/1024x1024", 2), ("images:low/1024x1024", 1))
    assert held(world, a_call(quantities=quantities)) == [("images", 3)]


def test_each_call_of_a_model_is_a_request_and_no_tool_is() -> None:
    world = World("id: some, limit: 1 request")
    assert world.make(a_tool()) is None
    assert world.make(a_call()) is None
    assert isinstance(world.make(a_call()), BudgetExceededError)
    assert world.make(a_tool()) is None


def test_a_model_that_is_billed_by_images_alone_must_say_how_many() -> None:
    book = PriceBook.load(
        overrides=parse_overrides(
            "version: 1\nmodels: {openai/painter: {usd_each: {images: 0.04}}}"
        )
    )
    world = World("id: pictures, limit: 4 images")
    gate = BudgetGate(world.gate.rules, book, world.ledger)
    assert isinstance(gate.authorize(a_call("painter")).denial, UnboundedCallError)
    allowed = gate.authorize(a_call("painter", quantities=(("images", 2),)))
    assert allowed.denial is None


def test_a_call_of_which_nothing_is_known_keeps_what_it_held() -> None:
    world = World("id: some, limit: 5 web searches")
    call = searching(2)
    decision = world.gate.authorize(call)
    world.end(call, decision, Usage(status="unknown"))
    assert (world.stands(decision).posted, world.stands(decision).unresolved) == (0, 2)


def test_what_was_not_asked_for_is_counted_past_a_lease_too() -> None:
    ledger = MemoryLedger()
    rules = parse_rules(
        "version: 1\nbudgets: [{id: money, limit: 1 USD}, {id: some, limit: 5 web searches}]"
    )
    leased = LeasedLedger(ledger, ledger, holder=lambda: "me")
    world = World("id: x, limit: 1 USD")
    world.gate, world.closer = BudgetGate(rules, BOOK, leased), Closer(BOOK, leased)
    call = a_call()
    decision = world.gate.authorize(call)
    # Dearer than its hold, so that its charges are told apart from the lease's.
    event = world.end(call, decision, Usage(output=9_000, quantities=(("web_searches", 2),)))
    assert event.charges[1].posted == 2
    assert decision.hold is not None
    assert ledger.balance(decision.hold.unasked[0]).posted == 2


QUANTITIES = sorted(set(BUDGET_UNITS) - TOKEN_UNITS - {"usd", "calls", "requests", "seconds"})


@given(
    st.sampled_from(QUANTITIES),
    st.integers(0, 6),
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.booleans()), max_size=8),
)
def test_no_quantity_is_let_through_past_its_limit(
    unit: str, limit: int, calls: list[tuple[int, int, bool]]
) -> None:
    world = World(f"id: a, limit: {limit} {unit}")
    counted = 0
    for asked, used, is_ended in calls:
        call = a_call(quantities=((unit, asked),))
        decision = world.gate.authorize(call)
        assert (decision.denial is None) == (asked == 0 or counted + asked <= limit)
        if decision.denial is None:
            posted = min(used, asked)
            if is_ended:
                world.end(call, decision, Usage(output=1, quantities=((unit, posted),)))
            counted += posted if is_ended else asked
