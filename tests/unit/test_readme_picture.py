"""The picture of the demo in README.md can be drawn again."""

from __future__ import annotations

import pytest

from readme_picture import MOST_LINES, README, refresh


def test_a_run_replaces_the_picture_and_nothing_else() -> None:
    readme = README.read_text()
    drawn = refresh(readme, "\x1b[31mdenied\x1b[0m  \n  a \\1 line\n\n")
    assert "```text\ndenied\n  a \\1 line\n```" in drawn
    assert drawn.partition("<!-- demo -->")[0] == readme.partition("<!-- demo -->")[0]
    assert drawn.partition("<!-- /demo -->")[2] == readme.partition("<!-- /demo -->")[2]


@pytest.mark.parametrize(
    ("readme", "output"),
    [
        pytest.param("no place", "fine", id="a README without a place"),
        pytest.param("<!-- demo -->\n```text\n\n```\n<!-- /demo -->", "```", id="a fence inside"),
        pytest.param(
            "<!-- demo -->\n```text\n\n```\n<!-- /demo -->", "\n" * MOST_LINES + "x", id="too long"
        ),
    ],
)
def test_what_would_spoil_the_page_is_refused(readme: str, output: str) -> None:
    with pytest.raises(ValueError, match="demo"):
        refresh(readme, output)
