"""What hosts tell of their outboxes is on the page for people."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.central.making import usage_event
from tests.pages import Person
from tests.serving import running_server
from tollspan.server.events import outbox_of
from tollspan.usage import (
    BATCH_MEDIA_TYPE,
    DEAD_LETTERS_HEADER,
    WAITING_HEADER,
    encode_batch,
    encode_cloud_event,
)


def test_what_waits_on_a_host_is_on_the_page(tmp_path: Path) -> None:
    with running_server(f"sqlite:{tmp_path / 'server.db'}") as server:
        person = Person(server)
        person.sign_in(server.key)
        said = {"Content-Type": BATCH_MEDIA_TYPE}
        for told, shown in (
            ({}, "not told"),
            ({WAITING_HEADER: "1234", DEAD_LETTERS_HEADER: "2"}, "1,234; 2 refused"),
            ({WAITING_HEADER: "0", DEAD_LETTERS_HEADER: "0"}, "waits there"),
        ):
            body = encode_batch([encode_cloud_event(usage_event())])
            answer = server.ask("POST", "/v1/events", data=body, headers={**said, **told})
            assert answer.status == 200
            assert shown in person.get("/health").words
        assert "refused" not in person.get("/health").words.partition("What waits is")[0]


@pytest.mark.parametrize("said", ["", "-1", "1.5", "²", "9" * 40, "many"])
def test_what_is_no_number_says_nothing(said: str) -> None:
    assert outbox_of({WAITING_HEADER: said}).waiting is None
    assert outbox_of({WAITING_HEADER: "12"}).waiting == 12
