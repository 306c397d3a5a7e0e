"""The page of the server's figures is made of them, and is current."""

from __future__ import annotations

import re

import server_metrics_page


def test_the_page_is_current() -> None:
    page = server_metrics_page.PAGE.read_text()
    assert page == server_metrics_page.page(), "run scripts/server_metrics_page.py"


def test_names_are_as_prometheus_wants_them() -> None:
    for name, kind, _, said in server_metrics_page.told():
        assert re.fullmatch(r"(tollspan|http_server)_[a-z_]+", name)
        assert name.endswith("_total") is (kind == "counter")
        assert said
