"""The API of an ingest server as people's commands ask it: one question, one answer or why not."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

from tollspan.usage import TollspanError

from ._addresses import shown
from ._http import Answer, HttpClient, HttpError

_TIMEOUT_SECONDS: Final = 30.0
_MOST_BYTES: Final = 16 << 20
_JSON: Final = "application/json"
_LEAST_FAILURE: Final = 400
_T = TypeVar("_T")


class ProblemAtServer(msgspec.Struct, frozen=True, kw_only=True):
    """One of several things that a server finds wrong in a document; `line` counts from 1."""

    line: int | None = None
    message: str = ""


class _Told(msgspec.Struct, frozen=True):
    type: str = "error"
    message: str = ""
    problems: tuple[ProblemAtServer, ...] | None = None


class _Problem(msgspec.Struct, frozen=True):
    error: _Told = msgspec.field(default_factory=_Told)


class ServerRefusedError(TollspanError):
    """A server answered, and did not do what it was asked.

    Attributes:
        status: HTTP's.
        type: In a word, as the API names it.
        problems: All that is wrong in a document, where it is one.
    """

    def __init__(
        self, text: str, *, status: int, kind: str, problems: tuple[ProblemAtServer, ...] = ()
    ) -> None:
        super().__init__(text)
        self.status = status
        self.type = kind
        self.problems = problems


class ServerDoor:
    """Asks one server, for one tenant. For one thread; `close` ends its connections.

    Args:
        endpoint: `https://host[:port]`, the server's.
        key: The API key. Never shown.
        tenant: Whose things are meant, where the key looks after all tenants; None for the key's.
    """

    def __init__(self, endpoint: str, key: str, *, tenant: str | None = None) -> None:
        self._url = endpoint.rstrip("/")
        self.place = shown(self._url)
        """Where it is, without secrets."""
        self._headers = {"Accept": _JSON}
        if tenant is not None:
            self._headers["Tollspan-Tenant"] = tenant
        self._client = HttpClient(key, timeout_seconds=_TIMEOUT_SECONDS, most_bytes=_MOST_BYTES)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        said: object = None,
        data: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Ask something.

        Args:
            method: HTTP's.
            path: With its query, from `/v1/`.
            said: What is sent as JSON; None for nothing.
            data: What is sent as it is, in place of that; `headers` say its type.
            headers: More of them.

        Raises:
            ServerRefusedError: The server says no, and why.
            TollspanError: It can't be reached, or answers what no such server does.
        """
        sent = {**self._headers, **(headers or {})}
        if said is not None:
            data = msgspec.json.encode(said)
            sent["Content-Type"] = _JSON
        try:
            answer = self._client.send(method, self._url + path, sent, data)
        except HttpError as error:
            raise HttpError(f"{self.place}: {error}", kind=error.kind) from None
        if answer.status >= _LEAST_FAILURE:
            raise self._refused(answer)
        return answer

    def ask_for(self, answers: type[_T], method: str, path: str, **more: Any) -> _T:
        """Ask for a value; `more` is as of `ask`.

        Raises:
            TollspanError: As of `ask`.
        """
        return self.read(answers, self.ask(method, path, **more))

    def read(self, answers: type[_T], answer: Answer) -> _T:
        """Read an answer's JSON.

        Raises:
            HttpError: It is not what such a server answers.
        """
        try:
            return msgspec.json.decode(answer.body, type=answers)
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise HttpError(f"{self.place}: its answer is none of a tollspan server") from None

    def _refused(self, answer: Answer) -> ServerRefusedError:
        try:
            told = msgspec.json.decode(answer.body, type=_Problem).error
        except (msgspec.DecodeError, UnicodeDecodeError):
            told = _Told()
        said = told.message or "nothing that a tollspan server says"
        return ServerRefusedError(
            f"{self.place} answers {answer.status}: {said}", status=answer.status,
            kind=told.type, problems=told.problems or (),
        )  # fmt: skip
