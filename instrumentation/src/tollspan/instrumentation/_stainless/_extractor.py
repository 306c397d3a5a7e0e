"""Reads what passes the funnel on one API path, with the shape of that path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec
from opentelemetry.util.types import AttributeValue

from tollspan.budget import Change
from tollspan.instrumentation._details import read_details, readers
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._run import Failure
from tollspan.instrumentation._shapes import Reading, StreamReader, View
from tollspan.instrumentation._spans import SpanEmitter
from tollspan.instrumentation._stream import is_stream
from tollspan.instrumentation._turns import last_turn
from tollspan.safety import Guard
from tollspan.usage import Request

from ._asked import Asked
from ._failures import answer_before, read_failure
from ._others import PathOthers
from ._raw import RawReader, http_response, read_body
from ._sdk import ApiPath, Sdk

_REFUSALS = frozenset({400, 422})
_NOT_THERE = frozenset({401, 403, 404})
_MOST_KINDS = 64
_guard = Guard("instrumentation.extra_body")
_OURS = ("stream_options", "include_usage")


class PathExtractor:
    """Reads the requests and answers of one path.

    Attributes:
        spans: Starts their spans.
        others: Finds out who else makes spans of them.
        is_free: The provider takes no money for them.
    """

    def __init__(
        self,
        sdk: Sdk,
        path: ApiPath,
        hosts: HostTable,
        spans: SpanEmitter,
    ) -> None:
        self.spans = spans
        self.others = PathOthers(sdk, path)
        self._hosts = hosts
        self._shape = path.shape()
        self.is_free = self._shape.is_free
        self._read = self._shape.request
        # Classes of results that are the answer itself: no stream, no response to be read later.
        self._answers: set[type] = set()
        self._asks_for_usage = path.asks_for_usage
        self._turns = path.turns
        self._readers = readers(sdk.package)
        self._told = frozenset(self._readers)
        self._refusing: set[tuple[str, int | None]] = set()

    def request(self, asked: Asked) -> Request:
        """Read what is asked."""
        options = asked.options
        body: Mapping[str, object] = options.json_data
        route = self._hosts.route(asked.client.base_url)
        if not options.extra_json and body.__class__ is dict:
            return self._read(body, route, is_stream=asked.is_stream)
        asked.take_ours()
        request = self._read(asked.body(), route, is_stream=asked.is_stream)
        with _guard:
            return asked.apply_ours(request)
        return request

    def details(self, asked: Asked) -> dict[str, AttributeValue] | None:
        """Return what a span says of the request beyond its `Request`; None for nothing."""
        options = asked.options
        if self._told.isdisjoint(options.json_data) and not options.extra_json:
            return None
        return read_details(asked.body(), self._readers)

    def turn(self, asked: Asked) -> list[str] | None:
        """Read what was said last; None where nobody talks."""
        return None if self._turns is None else last_turn(asked.body().get(self._turns))

    def prepare(self, request: Request, asked: Asked) -> None:
        """Ask a stream for its usage where the caller did not, unless its server refused that."""
        if (
            request.is_stream
            and self._asks_for_usage
            and (request.host, request.port) not in self._refusing
        ):
            asked.ask_for_usage()

    def change(self, change: Change, asked: Asked) -> bool:
        """Have another model sent, and another limit of output, where the path has one."""
        if not isinstance(asked.options.json_data, Mapping):
            return False
        was, request = change.asked, change.request
        values: dict[str, object] = {}
        if request.model != was.model:
            # Azure's client may have the model in its address, which then counts alone.
            if asked.is_put_back or "/deployments" in str(asked.client.base_url):
                return False
            values["model"] = request.model
        if request.max_output_tokens != was.max_output_tokens:
            limits = self._shape.limited(asked.body(), request)
            if limits is None:
                return False
            values.update(limits)
        asked.put(values)
        return True

    def as_asked(self, error: Exception, asked: Asked) -> bool:
        """Put back the caller's own model where the provider knows no other, or allows none."""
        has_other_model = asked.was_rerouted and not asked.is_put_back
        if not has_other_model or getattr(error, "status_code", None) not in _NOT_THERE:
            return False
        asked.put_back()
        return True

    def again(self, error: Exception, asked: Asked) -> bool:
        """Take back our request for usage from a server that may not know it."""
        if asked.given is None:
            return False
        asked.restore()
        asked.is_taken_back = getattr(error, "status_code", None) in _REFUSALS and any(
            word in str(error) for word in _OURS
        )
        return asked.is_taken_back

    def result(self, result: object) -> Reading:
        """Read a whole answer; a raw response is read from its bytes, which are in memory."""
        if type(result) in self._answers:
            return self._shape.answer(result)
        response = http_response(result)
        if response is not None:
            return read_body(self._shape, response)
        if isinstance(result, dict):
            return self._shape.answer(View(cast("dict[str, object]", result)))
        return self._shape.answer(result)

    def stream(self, request: Request, result: object, asked: Asked) -> StreamReader | None:
        """Watch a stream, and the bytes of a raw response that are still to come."""
        kind = type(result)
        if kind in self._answers:
            return None
        if request.is_stream and is_stream(result):
            if asked.is_taken_back:  # without ours it worked: remember
                self._refusing.add((request.host, request.port))
            is_ours = asked.given is not None
            asked.restore()
            return self._shape.reader(request, hides_usage=is_ours)
        response = http_response(result)
        if response is None:
            if kind is not dict and len(self._answers) < _MOST_KINDS:
                self._answers.add(kind)
            return None
        if response.is_closed or response.is_stream_consumed:
            return None
        return RawReader(self._shape, request, response)

    def failure(self, error: BaseException) -> Failure:
        """Read an exception: see `docs/reference/outcomes.md` for the table.

        What the provider answered in full is read, whatever the SDK then made of it.
        """
        failure = read_failure(error)
        response = http_response(answer_before(error)) if failure.is_maybe_billed else None
        if response is None or not response.is_stream_consumed:
            return failure
        return msgspec.structs.replace(failure, reading=read_body(self._shape, response))
