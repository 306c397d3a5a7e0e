"""docs/reference/enforcement.md says what real instrumentors really do; versions apart."""

from __future__ import annotations

import re

import enforcement_page

VERSION = re.compile(r"` \d[\w.]*\)")


def test_the_page_is_what_the_instrumentors_do() -> None:
    written = enforcement_page.PAGE.read_text()
    assert VERSION.sub("`)", written) == VERSION.sub("`)", enforcement_page.page())
