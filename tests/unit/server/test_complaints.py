"""What goes wrong at every request is said in the log once a minute."""

from __future__ import annotations

import logging

import pytest

from tollspan.server.complaints import Complaint


def test_a_complaint_is_made_once_a_minute_with_how_often_it_was_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1_000.0
    complaint = Complaint(logging.getLogger("server"), "it is away", clock=lambda: now)
    for _ in range(5):
        complaint.make(ValueError("first"))
    now += 59.9
    complaint.make(ValueError("not said"))
    now += 0.1
    complaint.make(ValueError("last"))
    assert [one.getMessage() for one in caplog.records] == [
        "it is away: first",
        "it is away (5 times more since it was said last): last",
    ]
