"""`/v1/focus` of a real server: a table whose rows add up to what the events cost."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from decimal import Decimal

import pytest

from tests.contract.central.making import usage_event
from tests.serving import RunningServer, running_server
from tollspan.reports import COLUMNS
from tollspan.server.reports import focus
from tollspan.usage import BATCH_MEDIA_TYPE, encode_batch, encode_cloud_event

LONG_AGO = "from=2020-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where) as running:
        yield running


def rows_of(server: RunningServer, key: str, query: str = LONG_AGO) -> list[dict[str, str]]:
    answer = server.ask("GET", f"/v1/focus?{query}", key=key)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    return list(csv.DictReader(io.StringIO(answer.body.decode(), newline="")))


@pytest.mark.parametrize("most", [3, 1_000])
def test_rows_add_up_over_all_pages_of_events(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(focus, "_AT_ONCE", most)
    monkeypatch.setattr(focus, "_ROWS_AT_ONCE", most)
    key = server.make_key(f"pages-{most}", "ingest", "read")
    events = [usage_event(cost=10**12 + n, customer=f"c{n % 4}") for n in range(10)]
    body = encode_batch([encode_cloud_event(one) for one in events])
    server.ask("POST", "/v1/events", key=key, data=body, headers={"Content-Type": BATCH_MEDIA_TYPE})
    rows = rows_of(server, key, f"{LONG_AGO}&by=call")
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(10 * 10**12 + 45).scaleb(-9)
    assert {row["x_CallId"] for row in rows} == {one.call.id for one in events}
    assert {row["BillingAccountId"] for row in rows} == {f"pages-{most}"}
    by_day = rows_of(server, key, f"{LONG_AGO}&account=o-1&sub_account=customer")
    assert sum(Decimal(row["BilledCost"]) for row in by_day) == Decimal(10 * 10**12 + 45).scaleb(-9)
    assert {row["SubAccountId"] for row in by_day} == {"c0", "c1", "c2", "c3"}


def test_without_events_there_is_a_header_alone(server: RunningServer) -> None:
    answer = server.ask("GET", f"/v1/focus?{LONG_AGO}", key=server.make_key("nothing"))
    assert answer.body.decode() == ",".join(name for name, _ in COLUMNS) + "\r\n"


@pytest.mark.parametrize(
    "query", ["", "from=x", f"{LONG_AGO}&by=week", f"{LONG_AGO}&sub_account=x", f"{LONG_AGO}&a=b"]
)
def test_a_wrong_question_is_refused(server: RunningServer, query: str) -> None:
    answer = server.ask("GET", f"/v1/focus?{query}")
    assert (answer.status, answer.problem) == (400, "invalid")


def test_only_a_key_that_may_read_sees_it(server: RunningServer) -> None:
    assert server.ask("GET", f"/v1/focus?{LONG_AGO}", key="").status == 401
    key = server.make_key("ingesting", "ingest")
    assert server.ask("GET", f"/v1/focus?{LONG_AGO}", key=key).status == 403
