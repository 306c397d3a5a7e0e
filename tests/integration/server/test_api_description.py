"""The API is what `/openapi.json` says: schemathesis asks all that it allows, and more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation.modes import GenerationMode

from tests.serving import RunningServer, running_server

# What no schema says: a cursor is of a page before, a document of rules has a meaning. JSON Schema
# takes 1.0 for a whole number, and the server does not.
BEYOND_SCHEMAS = re.compile(
    r"query\.(cursor|group_by|of|tag): expected|Expected `int( \| null)?`, got `float`"
    r"|valid integer|rules:\d+: |\"url: |a label has|attribution\.|the account came before"
    r"|expected one of cancel, not_billed and usage"
)
EVENT_BY_EVENT = ("/v1/events",)
"""Here one wrong event does not make the request wrong."""
CLOSED = "the authority is not open"
"""Whoever claims to have heard more of it than it ever said has closed it."""
MODES = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
Case = schemathesis.Case[Any]
LONG = [pytest.mark.slow, pytest.mark.timeout(1_800)]
WEBHOOK = {"url": "https://hooks.example.com/x", "events": ["denied"]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    where = f"sqlite:{tmp_path_factory.mktemp('server') / 'server.db'}"
    with running_server(where, requests_per_second=0.0, strangers_per_second=0.0) as running:
        yield running


@pytest.fixture(scope="module")
def description(server: RunningServer) -> dict[str, Any]:
    found = server.ask("GET", "/openapi.json", key="").json
    assert isinstance(found, dict)
    return found


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "$ref":
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_it_is_openapi_31_and_every_reference_in_it_leads_somewhere(
    description: dict[str, Any],
) -> None:
    assert description["openapi"].startswith("3.1")
    schemas = description["components"]["schemas"]
    found = {one.removeprefix("#/components/schemas/") for one in references(description)}
    assert found - set(schemas) == set()


def test_what_the_door_answers_is_described_of_every_route(
    tmp_path: Path, description: dict[str, Any]
) -> None:
    where = f"sqlite:{tmp_path / 'server.db'}"
    with running_server(where, requests_per_second=0.001, strangers_per_second=0.001) as busy:
        assert busy.ask("GET", "/v1/key").status == 200  # the one that it may
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                answer = busy.ask(method.upper(), path.replace("{webhook_id}", "wh_0"))
                if path == "/healthz":
                    assert answer.status == 200
                    continue
                assert answer.status == 429
                assert int(answer.headers["Retry-After"]) > 0
                assert {"429", "503"} <= set(operation["responses"])
                assert answer.headers["Content-Type"] in operation["responses"]["429"]["content"]


class Asker:
    """Asks one operation with one key, and tells what is not as it is described."""

    def __init__(self, server: RunningServer, key: str, path: dict[str, str]) -> None:
        self._server = server
        self._path = path
        self._headers = {"Authorization": f"Bearer {key}", "Tollspan-Tenant": "acme"}
        self._session = requests.Session()
        self.answered: set[int] = set()

    def ask(self, case: Case) -> None:
        """Ask, and check the answer."""
        for name, value in self._path.items():
            if name in case.path_parameters:
                case.path_parameters[name] = value
        case.headers.pop("tollspan-tenant", None)
        answer = case.call(session=self._session, headers=self._headers)
        self.answered.add(answer.status_code)
        try:
            case.validate_response(answer, headers=self._headers)
        except FailureGroup as group:
            wrong = [one for one in group.exceptions if not is_meant(one, case, answer.text)]
            if wrong:
                told = [f"{one}" for one in wrong]
                asked = f"{case.method} {case.formatted_path} {case.query} {case.body!r}"
                raise AssertionError("\n".join([*told, asked, answer.text])) from None


def is_meant(failure: BaseException, case: Case, said: str) -> bool:
    """Say whether the server is right where a schema can't say so."""
    assert isinstance(failure, Failure)
    match failure.kind_title:
        case "Schema-valid request rejected":
            return BEYOND_SCHEMAS.search(said) is not None
        case "Schema-violating request accepted":  # of what repeats in a query the last one counts
            return case.operation.path in EVENT_BY_EVENT or "body" not in str(failure)
        case _:
            return CLOSED in said


def try_all(server: RunningServer, key: str, examples: int, *modes: GenerationMode) -> list[str]:
    """Ask every operation; return what is not as it is described."""
    made = server.ask("POST", "/v1/webhooks", body=WEBHOOK).json
    asker = Asker(server, key, {"webhook_id": made["id"]})
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    wrong: list[str] = []
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr] # what can't be read fails here
        for mode in modes:
            trying = settings(
                max_examples=examples, deadline=None, derandomize=True, database=None,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )(given(case=operation.as_strategy(generation_mode=mode))(asker.ask))  # fmt: skip
            try:
                trying()
            except Unsatisfiable:  # nothing of it can be wrong
                assert mode is GenerationMode.NEGATIVE
            except AssertionError as error:
                wrong.append(f"{operation.label}: {error}")
    assert 200 in asker.answered
    return wrong


def key_of(server: RunningServer, who: str) -> str:
    match who:
        case "for all":
            return server.make_key("*", "ingest", "read", "admin")
        case "read":
            return server.make_key("acme", "read")
        case _:
            return server.make_key("acme", "ingest")


@pytest.mark.parametrize(
    ("who", "examples", "modes"),
    [
        pytest.param("for all", 2, MODES),
        pytest.param("read", 1, MODES[:1]),
        pytest.param("ingest", 1, MODES[:1]),
        pytest.param("for all", 30, MODES, marks=LONG),
        pytest.param("read", 30, MODES, marks=LONG),
        pytest.param("ingest", 30, MODES, marks=LONG),
    ],
)
def test_whatever_is_asked_the_answers_are_those_that_are_described(
    server: RunningServer, who: str, examples: int, modes: tuple[GenerationMode, ...]
) -> None:
    wrong = try_all(server, key_of(server, who), examples, *modes)
    assert not wrong, "\n\n".join(wrong)


def test_a_405_names_all_methods_of_the_path(server: RunningServer) -> None:
    answer = server.ask("DELETE", "/v1/webhooks/wh_0000000000000000/rotate")
    assert (answer.status, answer.headers["Allow"]) == (405, "POST")
    answer = server.ask("OPTIONS", "/v1/webhooks/wh_0000000000000000")
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, GET, PATCH")


@pytest.mark.parametrize("bucket", ["", "&bucket=hour", "&bucket=day", "&bucket=month"])
def test_the_last_years_that_there_are_can_be_asked_for(server: RunningServer, bucket: str) -> None:
    for moment in ("9999-12-31T23:59:59Z", "2262-04-11T23:47:16Z", "0001-01-01T00:00:00Z"):
        for asked in (f"from={moment}", f"to={moment}"):
            answer = server.ask("GET", f"/v1/usage?{asked}{bucket}&group_by=model,session")
            assert answer.status == 200


def test_a_number_is_no_time(server: RunningServer) -> None:
    for path in ("usage?from=1700000000", "events?since=902.48", "audit?until=-1e9"):
        answer = server.ask("GET", f"/v1/{path}")
        assert answer.status == 400
        assert "RFC 3339" in answer.json["error"]["message"]
