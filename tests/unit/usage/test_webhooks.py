"""Signatures of webhooks: what is taken, what is not, and the table of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tollspan.usage import ConfigError, sign_webhook, verify_webhook

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "webhooks.md"
ROW = re.compile(
    r"^\| `([^`]*)` \| `([^`]*)` \| `([^`]*)` \| `([^`]*)` \| (yes|no): ", re.MULTILINE
)
SECRET = "whsec_1"
NOW = 1_764_370_000


def test_the_table_in_the_documentation_is_true() -> None:
    rows = ROW.findall(PAGE.read_text())
    assert len(rows) >= 8
    assert {row[4] for row in rows} == {"yes", "no"}
    for body, secret, timestamp, signature, expected in rows:
        found = verify_webhook(body, signature, secret.split(" "), timestamp, now=NOW)
        assert found == (expected == "yes"), (body, secret, timestamp, signature)


@given(body=st.binary(max_size=200), secret=st.text(min_size=1, max_size=50))
def test_what_was_signed_is_taken_in_each_form_and_nothing_else_is(
    body: bytes, secret: str
) -> None:
    digest = sign_webhook(body, secret, NOW)
    for said in (digest, f"sha256={digest}", digest.upper(), f" sha256={digest} "):
        assert verify_webhook(body, said, secret, str(NOW), now=NOW)
    assert verify_webhook(body, f"sha256={'0' * 64},sha256={digest}", ["x", secret], NOW, now=NOW)
    assert not verify_webhook(body + b"x", digest, secret, NOW, now=NOW)
    assert not verify_webhook(body, digest, secret + "x", NOW, now=NOW)
    assert not verify_webhook(body, digest, secret, NOW + 1, now=NOW)
    assert not verify_webhook(body, digest[:-1], secret, NOW, now=NOW)


@pytest.mark.parametrize(
    ("offset", "expected"), [(0, True), (300, True), (-300, True), (301, False), (-301, False)]
)
def test_a_webhook_is_good_for_three_hundred_seconds(offset: int, expected: bool) -> None:
    digest = sign_webhook(b"{}", SECRET, NOW)
    assert verify_webhook(b"{}", digest, SECRET, NOW, now=NOW + offset) is expected


@given(said=st.text(max_size=100))
def test_no_text_for_a_signature_or_a_time_makes_it_fail(said: str) -> None:
    assert not verify_webhook(b"{}", said, SECRET, NOW, now=NOW)
    digest = sign_webhook(b"{}", SECRET, said)
    is_the_time = said.isascii() and said.isdigit() and abs(int(said) - NOW) <= 300
    assert verify_webhook(b"{}", digest, SECRET, said, now=NOW) is is_the_time


@pytest.mark.parametrize("secret", ["", [], [SECRET, ""]])
def test_a_secret_that_is_missing_is_an_error_not_an_open_door(secret: str | list[str]) -> None:
    with pytest.raises(ConfigError, match="secret"):
        verify_webhook(b"{}", "00" * 32, secret, NOW, now=NOW)
