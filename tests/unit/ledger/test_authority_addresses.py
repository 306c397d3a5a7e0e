"""Addresses of shared authorities: what names a place, and what is kept out of names."""

from __future__ import annotations

import pytest

from tollspan.budget import SHARED_SCHEMES, LeaseSettings
from tollspan.ledger import PostgresAuthority, RedisAuthority, name_of, open_authority
from tollspan.ledger.authorities import _PLACES
from tollspan.usage import ConfigError


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param("redis://h/0", "redis://user:secret@h/0", id="who asks names no place"),
        pytest.param("postgres://h/d", "postgresql://a:b@H/d", id="both schemes are one"),
        pytest.param(
            "postgresql://h1:1,h2:2/d",
            "postgresql://a:b@h1:1,h2:2/d?sslmode=require",
            id="several hosts",
        ),
    ],
)
def test_a_place_has_one_name(one: str, other: str) -> None:
    assert name_of(one) == name_of(other)
    assert "secret" not in name_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://h/0", "redis://h/1"),
        ("redis://h/0", "redis://h/0?name=staging"),
        ("postgresql://h1:1,h2:2/d", "postgresql://h1:1,h3:2/d"),
        ("postgresql:///d?host=/run/a", "postgresql:///d?host=/run/b"),
        ("postgresql://?service=a", "postgresql://?service=b"),
        ("postgresql://h/d", "redis://h/d"),
    ],
)
def test_places_that_differ_have_names_that_differ(one: str, other: str) -> None:
    assert name_of(one) != name_of(other)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("redis://localhost/0", RedisAuthority),
        ("postgresql://localhost/d", PostgresAuthority),
        ("postgres://a,b/d", PostgresAuthority),
    ],
)
def test_an_address_opens_its_authority_and_connects_to_nothing_yet(url: str, kind: type) -> None:
    authority = open_authority(url, LeaseSettings())
    assert isinstance(authority, kind)
    authority.close()


def test_an_unknown_address_is_refused() -> None:
    with pytest.raises(ConfigError, match="mysql"):
        open_authority("mysql://localhost", LeaseSettings())


def test_every_scheme_that_rules_may_name_can_be_opened_and_no_other() -> None:
    by_http = {"https", "http"}  # `authority_at` opens these
    assert set(_PLACES) | by_http == set(SHARED_SCHEMES)
