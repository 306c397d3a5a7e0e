"""OpenAI's Responses API, as pure functions from a request to its answer.

Shapes after the API reference and the types of openai-python 3.54; values are made up.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes import tokens
from tests.fakes.dialect import Answer, RefusedError, SseEvent
from tests.fakes.generation import Ask, Generation, Part, Piece, generate
from tests.fakes.openai_chat import asked_tier, charge_of, validate_counts, validate_model
from tests.fakes.openai_errors import error_object
from tests.fakes.replies import Reply
from tests.fakes.values import positive_int

Item = dict[str, Any]
_Block = tuple[Part, int | None]


def responses(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/responses`, whole, streamed, or with a promise (`background`)."""
    validate_model(request)
    if not request.get("input") and not request.get("prompt"):
        raise RefusedError("Missing required parameter.", "input")
    validate_counts(request, "max_output_tokens")
    made = generate(_ask(request, count), reply, count)
    document = ResponseDocument(made, reply, request)
    charges = (
        charge_of(
            made,
            web_searches=reply.web_searches,
            storage_searches=reply.file_searches,
            code_sessions=len(set(reply.code_containers)),
        ),
    )
    later = (document.id, _encode(document.final())) if request.get("background") else None
    if made.ask.is_streamed:
        events = ResponseEvents(document)
        return Answer(charges=charges, generation=made, events=events, later=later)
    if later is not None:
        return Answer(charges=charges, body=_encode(document.body("queued")), later=later)
    return Answer(charges=charges, body=_encode(document.final()))


def compact(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/responses/compact`: the output's tokens are those of the summary."""
    validate_model(request)
    made = generate(_ask(request, count), reply, count)
    item = {"id": _id("cmp"), "type": "compaction", "encrypted_content": "gAAAA" + "x" * 32}
    body = {
        "id": _id("resp"),
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": [item],
    }
    if not reply.omit_usage:
        body["usage"] = _usage(made)
    return Answer(charges=(charge_of(made),), body=_encode(body))


def _ask(request: Mapping[str, object], count: tokens.Count) -> Ask:
    return Ask(
        model=str(request["model"]),
        prompt_tokens=tokens.responses_tokens(request, count),
        max_output_tokens=positive_int(request.get("max_output_tokens")),
        is_streamed=bool(request.get("stream")),
        shows_reasoning=True,
        service_tier=asked_tier(request),
    )


def _usage(generation: Generation) -> dict[str, object]:
    return {
        "input_tokens": generation.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": generation.cached_tokens,
            "cache_write_tokens": generation.cache_write_tokens,
        },
        "output_tokens": generation.output_tokens,
        "output_tokens_details": {"reasoning_tokens": generation.reasoning_tokens},
        "total_tokens": generation.prompt_tokens + generation.output_tokens,
    }


class ResponseDocument:
    """One Response: its fields in each state, and its output items.

    Attributes:
        id: Of the response.
        is_background: It is worked on after the answer.
    """

    def __init__(self, generation: Generation, reply: Reply, request: Mapping[str, object]) -> None:
        self.id = _id("resp")
        self.is_background = bool(request.get("background"))
        self.generation = generation
        self._reply = reply
        self._request = request
        self._created_at = int(time.time())
        self._ids = {"reasoning": _id("rs"), "text": _id("msg")}
        self._calls = [(_id("fc"), _id("call")) for _ in generation.tool_calls]

    @property
    def status(self) -> str:
        """In which the response ends."""
        reason = self.generation.finish_reason
        if reason in {"length", "content_filter"}:
            return "incomplete"
        return "failed" if reason == "failed" else "completed"

    def final(self) -> dict[str, object]:
        """Return the response as it is in the end."""
        blocks = [self.item(block) for block in self.leading()]
        blocks += self.hosted()
        blocks += [self.item(block) for block in self.trailing()]
        return self.body(self.status, blocks)

    def body(self, status: str, output: list[Item] | None = None) -> dict[str, object]:
        """Return the response in a status, with the output until then."""
        asked = self._request
        is_over = status not in {"queued", "in_progress"}
        body: dict[str, object] = {
            "id": self.id,
            "object": "response",
            "created_at": self._created_at,
            "status": status,
            "background": self.is_background,
            "error": self._error() if status == "failed" else None,
            "incomplete_details": self._incomplete() if status == "incomplete" else None,
            "instructions": asked.get("instructions"),
            "max_output_tokens": asked.get("max_output_tokens"),
            "metadata": asked.get("metadata") or {},
            "model": self.generation.served_model,
            "output": output or [],
            "parallel_tool_calls": True,
            "previous_response_id": asked.get("previous_response_id"),
            "reasoning": asked.get("reasoning") or {"effort": None, "summary": None},
            "service_tier": self.generation.service_tier if is_over else "auto",
            "temperature": 1.0,
            "text": asked.get("text") or {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": asked.get("tools") or [],
            "top_p": 1.0,
            "truncation": "disabled",
        }
        if not self._reply.omit_usage:
            has_usage = is_over and status != "failed"
            body["usage"] = _usage(self.generation) if has_usage else None
        return body

    def leading(self) -> list[_Block]:
        """Return the blocks before the hosted tools' calls."""
        made = self.generation
        return [("reasoning", None)] if made.reasoning_tokens or made.reasoning_text else []

    def trailing(self) -> list[_Block]:
        """Return the blocks after the hosted tools' calls."""
        made = self.generation
        message: list[_Block] = [("text", None)] if made.text or not made.tool_calls else []
        return message + [("tool", index) for index in range(len(made.tool_calls))]

    def item(self, block: _Block, *, is_open: bool = False) -> Item:
        """Return a block's item, whole or as it is when it begins."""
        part, index = block
        made = self.generation
        is_cut = self.status == "incomplete" and block == (self.trailing() or [block])[-1]
        status = "in_progress" if is_open else "incomplete" if is_cut else "completed"
        if part == "reasoning":
            shown = bool(made.reasoning_text) and not is_open
            summary = [summary_part(made.reasoning_text)] if shown else []
            return {"id": self._ids["reasoning"], "type": "reasoning", "summary": summary}
        if part == "text":
            return {
                "id": self._ids["text"],
                "type": "message",
                "status": status,
                "role": "assistant",
                "content": [] if is_open else [text_part(made.text)],
            }
        item_id, call_id = self._calls[index or 0]
        call = made.tool_calls[index or 0]
        return {
            "id": item_id,
            "type": "function_call",
            "status": status,
            "call_id": call_id,
            "name": call.name,
            "arguments": "" if is_open else call.arguments,
        }

    def hosted(self) -> list[Item]:
        """Return the finished calls of the provider's own tools; ids are new each time."""
        reply = self._reply
        items: list[Item] = []
        for number in range(reply.web_searches):
            action = {"type": "search", "query": f"query {number}", "queries": [f"query {number}"]}
            items.append({"id": _id("ws"), "type": "web_search_call", "action": action})
        for number in range(reply.page_visits):
            action = {"type": "open_page", "url": f"https://example.com/{number}"}
            items.append({"id": _id("ws"), "type": "web_search_call", "action": action})
        for number in range(reply.file_searches):
            queries = [f"query {number}"]
            items.append({"id": _id("fs"), "type": "file_search_call", "queries": queries})
        for container in reply.code_containers:
            items.append(
                {
                    "id": _id("ci"),
                    "type": "code_interpreter_call",
                    "code": "print(1)",
                    "container_id": container,
                    "outputs": None,
                }
            )
        return [{**item, "status": "completed"} for item in items]

    def _error(self) -> dict[str, object]:
        code = self._reply.error_code or "server_error"
        return {"code": code, "message": self._reply.error_message or "The model failed."}

    def _incomplete(self) -> dict[str, object]:
        is_cut = self.generation.finish_reason == "length"
        return {"reason": "max_output_tokens" if is_cut else "content_filter"}


class ResponseEvents:
    """The stream events of one response, each with a name and a sequence number."""

    def __init__(self, document: ResponseDocument) -> None:
        self._document = document
        self._number = 0
        self._output: list[Item] = []
        self._current: _Block | None = None
        self._begun: set[_Block] = set()
        self._is_past_hosted = False

    def opening(self) -> Iterator[SseEvent]:
        """Yield the response without output, and a reasoning of which nothing is shown."""
        states = ["queued", "in_progress"] if self._document.is_background else ["in_progress"]
        yield self._event("created", response=self._document.body(states[0]))
        for state in states:
            yield self._event(state, response=self._document.body(state))
        if self._document.leading() and not self._document.generation.reasoning_text:
            yield from self._enter(("reasoning", None))
            yield from self._leave()

    def piece(self, piece: Piece) -> Iterator[SseEvent]:
        """Yield a piece of output, and before it what ends the last block and begins this one."""
        block = (piece.part, piece.tool_index)
        if block != self._current:
            yield from self._leave()
            yield from self._enter(block)
        place = self._place()
        if piece.opens:
            return
        if piece.part == "reasoning":
            yield self._event("reasoning_summary_text.delta", delta=piece.text, **place)
        elif piece.part == "tool":
            yield self._event("function_call_arguments.delta", delta=piece.text, **place)
        else:
            yield self._event("output_text.delta", delta=piece.text, logprobs=[], **place)

    def closing(self) -> Iterator[SseEvent]:
        """Yield the end of the last block, blocks without a piece, and the whole response."""
        yield from self._leave()
        for block in self._document.trailing():
            if block not in self._begun:
                yield from self._enter(block)
                yield from self._leave()
        yield from self._hosted()
        status = self._document.status
        yield self._event(status, response=self._document.body(status, self._output))

    def failure(self, reply: Reply) -> Iterator[SseEvent]:
        """Yield the error that ends a broken stream."""
        problem = RefusedError(
            reply.error_message, status=500, code=reply.error_code or "server_error"
        )
        error = error_object(problem)
        data = {"type": "error", "sequence_number": self._number}
        data |= {name: error[name] for name in ("code", "message", "param")}
        yield SseEvent(json.dumps(data), "error")

    def _enter(self, block: _Block) -> Iterator[SseEvent]:
        if block[0] != "reasoning":
            yield from self._hosted()
        self._current = block
        self._begun.add(block)
        item = self._document.item(block, is_open=True)
        yield self._event("output_item.added", output_index=len(self._output), item=item)
        if block[0] == "text":
            yield self._event("content_part.added", part=text_part(""), **self._place())
        elif block[0] == "reasoning" and self._document.generation.reasoning_text:
            part = summary_part("")
            yield self._event("reasoning_summary_part.added", part=part, **self._place())

    def _leave(self) -> Iterator[SseEvent]:
        block, place = self._current, self._place()
        if block is None:
            return
        item = self._document.item(block)
        if block[0] == "text":
            part = item["content"][0]
            yield self._event("output_text.done", text=part["text"], logprobs=[], **place)
            yield self._event("content_part.done", part=part, **place)
        elif block[0] == "tool":
            arguments, name = item["arguments"], item["name"]
            yield self._event(
                "function_call_arguments.done", arguments=arguments, name=name, **place
            )
        elif item["summary"]:
            part = item["summary"][0]
            yield self._event("reasoning_summary_text.done", text=part["text"], **place)
            yield self._event("reasoning_summary_part.done", part=part, **place)
        yield from self._finish(item)
        self._current = None

    def _hosted(self) -> Iterator[SseEvent]:
        """Yield, once, the calls of the provider's own tools."""
        if self._is_past_hosted:
            return
        self._is_past_hosted = True
        for item in self._document.hosted():
            place = {"output_index": len(self._output), "item_id": item["id"]}
            added = {**item, "status": "in_progress"}
            yield self._event("output_item.added", output_index=len(self._output), item=added)
            running = "interpreting" if item["type"] == "code_interpreter_call" else "searching"
            for state in ("in_progress", running, "completed"):
                yield self._event(f"{item['type']}.{state}", **place)
            yield from self._finish(item)

    def _finish(self, item: Item) -> Iterator[SseEvent]:
        yield self._event("output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)

    def _place(self) -> dict[str, Any]:
        """Return where the current block's events belong."""
        if self._current is None:
            return {}
        item = self._document.item(self._current, is_open=True)
        place = {"item_id": item["id"], "output_index": len(self._output)}
        index = {"text": "content_index", "reasoning": "summary_index"}.get(self._current[0])
        return place if index is None else {**place, index: 0}

    def _event(self, kind: str, **fields: object) -> SseEvent:
        name = f"response.{kind}"
        data = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        return SseEvent(json.dumps(data, ensure_ascii=False), name)


def text_part(text: str) -> Item:
    """Return the content of a message."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def summary_part(text: str) -> Item:
    """Return the content of a reasoning."""
    return {"type": "summary_text", "text": text}


def _encode(body: Mapping[str, object]) -> bytes:
    return json.dumps(body).encode()


def _id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"
