"""Attribution in W3C baggage: sealed, read only on request, and never for providers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.propagate import extract, inject

from tollspan import safety
from tollspan.api import AttributionError, attribution
from tollspan.attribution import Baggage, capture, outbound, set_default, use_baggage
from tollspan.usage import Attribution

SECRET = "a secret of many characters"
DIMENSIONS = ("customer", "session", "tag.tier")


def made(
    secret: str = SECRET, *, reads: bool = False, writes: bool = False, only: tuple[str, ...] = ()
) -> Baggage:
    return Baggage(secret=secret, dimensions=only or DIMENSIONS, reads=reads, writes=writes)


@pytest.fixture(autouse=True)
def setting() -> Iterator[None]:
    """Have the setting off, and count errors from zero."""
    safety.internal_errors.clear()
    yield
    use_baggage(None)
    set_default(Attribution())
    safety.internal_errors.clear()


def headers() -> dict[str, str]:
    """Return what a request to another service would carry."""
    carrier: dict[str, str] = {}
    inject(carrier)
    return carrier


def received(carrier: dict[str, str]) -> Context:
    """Return the context in which another service handles the request."""
    return extract(carrier, Context())


def test_nothing_is_in_the_baggage_unless_it_is_asked_for() -> None:
    with attribution(customer="acme"):
        assert headers() == {}
    use_baggage(made(reads=True))
    with attribution(customer="acme"):
        assert headers() == {}


def test_what_is_written_says_nothing_to_others_and_is_read_by_friends() -> None:
    use_baggage(made(writes=True))
    with attribution(customer="acme", user="u", tags={"tier": "free", "other": "x"}):
        carrier = headers()
        names = [entry.partition("=")[0] for entry in carrier["baggage"].split(",")]
        assert names == ["tollspan.customer", "tollspan.tag.tier"]
        assert "acme" not in carrier["baggage"]
        assert "free" not in carrier["baggage"]
    assert headers() == {}
    use_baggage(made(reads=True))
    assert capture(received(carrier)) == Attribution(customer="acme", tags=(("tier", "free"),))
    use_baggage(made(reads=True, only=("session",)))
    assert capture(received(carrier)) == Attribution()


def test_what_comes_in_is_not_trusted_unless_it_is_asked_for() -> None:
    use_baggage(made(writes=True))
    with attribution(customer="acme"):
        carrier = headers()
    assert capture(received(carrier)) == Attribution()
    use_baggage(None)
    assert capture(received(carrier)) == Attribution()
    assert safety.internal_errors == {}


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param("acme", id="plain"),
        pytest.param("", id="empty"),
        pytest.param("AAAA", id="short"),
        pytest.param("A" * 64, id="made up"),
        pytest.param("%%%", id="not in the alphabet"),
        pytest.param(made("another secret of theirs").seal("tollspan.customer", "acme"), id="key"),
        pytest.param(made().seal("tollspan.session", "acme"), id="sealed for another name"),
        pytest.param(made().seal("tollspan.customer", "acme")[:-4] + "AAAA", id="changed"),
    ],
)
def test_what_is_not_sealed_by_a_friend_says_nothing_and_is_counted(forged: str) -> None:
    use_baggage(made(reads=True))
    set_default(Attribution(customer="default"))
    context = baggage.set_baggage("tollspan.customer", forged, Context())
    context = baggage.set_baggage("tollspan.session", made().seal("tollspan.session", "s"), context)
    assert capture(context) == Attribution(customer="default", session="s")
    assert safety.internal_errors == {("attribution.baggage", "AttributionError"): 1}


def test_what_comes_in_stands_over_the_default_and_under_the_blocks() -> None:
    use_baggage(made(writes=True))
    with attribution(customer="acme", session="s"):
        carrier = headers()
    use_baggage(made(reads=True, writes=True))
    set_default(Attribution(customer="default", team="red"))
    token = attach(received(carrier))
    try:
        assert capture() == Attribution(customer="acme", session="s", team="red")
        assert capture() == capture()
        with attribution(session="own") as in_force:
            assert in_force == Attribution(customer="acme", session="own", team="red")
            assert capture() == in_force
    finally:
        detach(token)


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=256),
    st.sampled_from(DIMENSIONS),
)
def test_every_value_comes_back_from_its_seal(value: str, dimension: str) -> None:
    name = f"tollspan.{dimension}"
    sealed = made().seal(name, value)
    assert made().open(name, sealed) == value
    assert made().seal(name, value) == sealed
    assert len(sealed) <= 1_400
    with pytest.raises(AttributionError, match="give both services the same one"):
        made("another secret of theirs").open(name, sealed)


def test_equal_lengths_hide_how_long_a_value_is() -> None:
    assert len(made().seal("tollspan.customer", "a")) == len(
        made().seal("tollspan.customer", "acme incorporate")
    )


def test_a_provider_gets_nothing_of_ours_and_all_that_is_others() -> None:
    use_baggage(made(writes=True))
    token = attach(baggage.set_baggage("theirs", "x"))
    try:
        with attribution(customer="acme"):
            context = outbound(get_current())
            assert dict(baggage.get_all(context)) == {"theirs": "x"}
            assert set(baggage.get_all()) == {"theirs", "tollspan.customer"}
            assert capture(context).customer == "acme"
        here = get_current()
        assert outbound(here) is here
    finally:
        detach(token)
