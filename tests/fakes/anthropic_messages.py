"""Anthropic's Messages API, as pure functions from a request to its answer.

Shapes after the API reference and the types of anthropic-python 2.12; values are made up.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from tests.fakes import tokens
from tests.fakes.anthropic_errors import error_object
from tests.fakes.books import Charge, Consumed
from tests.fakes.dialect import Answer, RefusedError, SseEvent
from tests.fakes.generation import Ask, Generation, Part, Piece, generate
from tests.fakes.replies import Iteration, Reply
from tests.fakes.values import positive_int, sequence

Block = dict[str, Any]
_Place = tuple[Part, int | None]
_STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_NO_GEO = ("claude-haiku-4-5",)
_USUAL_TIERS = {"auto", "standard_only"}
_PLAIN = {"standard", "global", "not_available"}
_OPENING_OUTPUT_TOKENS = 1


def messages(
    request: Mapping[str, object], reply: Reply, count: tokens.Count, *, is_beta: bool = False
) -> Answer:
    """Answer `POST /v1/messages`, whole or streamed."""
    _validate(request)
    tier = request.get("service_tier")
    ask = Ask(
        model=str(request["model"]),
        prompt_tokens=tokens.messages_tokens(request, count),
        max_output_tokens=positive_int(request.get("max_tokens")),
        is_streamed=bool(request.get("stream")),
        shows_reasoning=True,
        service_tier="standard" if tier is None or tier in _USUAL_TIERS else str(tier),
    )
    made = generate(ask, reply, count)
    message = Message(made, reply, request, is_beta=is_beta)
    if ask.is_streamed:
        events = MessageEvents(message)
        return Answer(charges=message.charges(), generation=made, events=events)
    return Answer(charges=message.charges(), body=json.dumps(message.final()).encode())


def count_tokens(request: Mapping[str, object], reply: Reply, count: tokens.Count) -> Answer:
    """Answer `POST /v1/messages/count_tokens`, which is free."""
    _validate_messages(request)
    prompt = tokens.messages_tokens(request, count)
    prompt = prompt if reply.prompt_tokens is None else reply.prompt_tokens
    return Answer(charges=(), body=json.dumps({"input_tokens": prompt}).encode())


def _validate(request: Mapping[str, object]) -> None:
    limit = request.get("max_tokens")
    if isinstance(limit, bool) or not isinstance(limit, int):
        raise RefusedError("max_tokens: Field required")
    if limit < 1:
        raise RefusedError("max_tokens: Input should be greater than or equal to 1")
    _validate_messages(request)


def _validate_messages(request: Mapping[str, object]) -> None:
    if not isinstance(request.get("model"), str):
        raise RefusedError("model: Field required")
    if not sequence(request.get("messages")):
        raise RefusedError("messages: at least one message is required")


def _consumed(one: Iteration) -> Consumed:
    prompt = one.input_tokens + one.cached_tokens + one.cache_write_tokens
    return Consumed(
        prompt_tokens=prompt + one.cache_write_1h_tokens,
        cached_tokens=one.cached_tokens,
        cache_write_tokens=one.cache_write_tokens,
        cache_write_1h_tokens=one.cache_write_1h_tokens,
        output_tokens=one.output_tokens,
    )


class Message:
    """One message: its blocks, and its usage at both ends of a stream."""

    def __init__(
        self,
        generation: Generation,
        reply: Reply,
        request: Mapping[str, object],
        *,
        is_beta: bool,
    ) -> None:
        self.generation = generation
        self.reply = reply
        self._request = request
        self._is_beta = is_beta
        self._id = _id("msg")
        geo = reply.inference_geo or request.get("inference_geo")
        usual = "not_available" if generation.ask.model in _NO_GEO else "global"
        self._geo = geo if isinstance(geo, str) else usual
        speed = reply.speed or request.get("speed")
        self._speed = speed if isinstance(speed, str) else None

    def charges(self) -> tuple[Charge, ...]:
        """Return what the call's own run costs, and the others."""
        own = self.generation.ask.model
        consumed = self.generation.consumed(web_searches=self.reply.web_searches)
        return (
            self._charge(own, consumed),
            *(self._charge(one.model or own, _consumed(one)) for one in self.reply.iterations),
        )

    def _charge(self, model: str, consumed: Consumed) -> Charge:
        how = (self._speed, self.generation.service_tier, None if model in _NO_GEO else self._geo)
        return Charge(model, consumed, tuple(one for one in how if one and one not in _PLAIN))

    def final(self) -> dict[str, object]:
        """Return the message as it is in the end."""
        content = [self.block(place) for place in self.leading()]
        content += self.server_blocks()
        content += [self.block(place) for place in self.trailing()]
        message = self.empty() | {"content": content, **self.stop()}
        if not self.reply.omit_usage:
            message["usage"] = {**self._opening_usage(), **self.closing_usage()}
        return message

    def opening(self) -> dict[str, object]:
        """Return the message of `message_start`."""
        message = self.empty()
        if not self.reply.omit_usage:
            message["usage"] = self._opening_usage()
        return message

    def empty(self) -> dict[str, object]:
        """Return the message before any output, without its usage."""
        message: dict[str, object] = {
            "model": self.generation.served_model,
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "content": [],
            "container": None,
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
        }
        return message | ({"context_management": None} if self._is_beta else {})

    def stop(self) -> dict[str, object]:
        """Return why the message ended."""
        given = self.generation.finish_reason
        reason = _STOP_REASONS.get(given, given)
        sequences = sequence(self._request.get("stop_sequences"))
        details = {"type": "refusal", "category": "cyber", "explanation": None}
        return {
            "stop_reason": reason,
            "stop_sequence": sequences[0] if reason == "stop_sequence" and sequences else None,
            "stop_details": details if reason == "refusal" else None,
        }

    def closing_usage(self) -> dict[str, object]:
        """Return the cumulative usage of `message_delta`."""
        made, reply = self.generation, self.reply
        own = [one for one in reply.iterations if one.type == "message"]
        writes = made.cache_write_tokens + made.cache_write_1h_tokens
        usage: dict[str, object] = {
            "input_tokens": made.uncached_tokens + sum(one.input_tokens for one in own),
            "cache_creation_input_tokens": writes + sum(map(_writes, own)),
            "cache_read_input_tokens": made.cached_tokens + sum(one.cached_tokens for one in own),
            "output_tokens": made.output_tokens + sum(one.output_tokens for one in own),
        }
        if made.reasoning_tokens:
            usage["output_tokens_details"] = {"thinking_tokens": made.reasoning_tokens}
        if reply.web_searches or reply.page_visits:
            usage["server_tool_use"] = {
                "web_search_requests": reply.web_searches,
                "web_fetch_requests": reply.page_visits,
            }
        if reply.iterations:
            last = Iteration(
                input_tokens=made.uncached_tokens,
                cached_tokens=made.cached_tokens,
                cache_write_tokens=made.cache_write_tokens,
                cache_write_1h_tokens=made.cache_write_1h_tokens,
                output_tokens=made.output_tokens,
            )
            usage["iterations"] = [_iteration(one) for one in (*reply.iterations, last)]
        return usage

    def _opening_usage(self) -> dict[str, object]:
        made = self.generation
        own = [one for one in self.reply.iterations if one.type == "message"]
        creation = {
            "ephemeral_5m_input_tokens": sum(
                (one.cache_write_tokens for one in own), made.cache_write_tokens
            ),
            "ephemeral_1h_input_tokens": sum(
                (one.cache_write_1h_tokens for one in own), made.cache_write_1h_tokens
            ),
        }
        begun = self.reply.opening_input_tokens
        usage: dict[str, object] = {
            "input_tokens": made.uncached_tokens if begun is None else begun,
            "cache_creation_input_tokens": made.cache_write_tokens + made.cache_write_1h_tokens,
            "cache_read_input_tokens": made.cached_tokens,
            "cache_creation": creation,
            "output_tokens": _OPENING_OUTPUT_TOKENS,
            "service_tier": made.service_tier,
            "inference_geo": self._geo,
        }
        return usage | ({} if self._speed is None else {"speed": self._speed})

    def leading(self) -> list[_Place]:
        """Return the blocks before the server tools' ones."""
        return [("reasoning", None)] if self.generation.reasoning_tokens else []

    def trailing(self) -> list[_Place]:
        """Return the blocks after the server tools' ones."""
        made = self.generation
        text: list[_Place] = [("text", None)] if made.text else []
        return text + [("tool", index) for index in range(len(made.tool_calls))]

    def block(self, place: _Place, *, is_open: bool = False) -> Block:
        """Return a block, whole or as it is when it begins."""
        part, index = place
        made = self.generation
        if part == "reasoning":
            thinking = "" if is_open else made.reasoning_text
            signature = "" if is_open else _SIGNATURE
            return {"type": "thinking", "thinking": thinking, "signature": signature}
        if part == "text":
            return {"type": "text", "text": "" if is_open else made.text, "citations": None}
        call = made.tool_calls[index or 0]
        given = {} if is_open else _arguments(call.arguments)
        return {
            "type": "tool_use",
            "id": _id("toolu"),
            "name": call.name,
            "input": given,
            "caller": {"type": "direct"},
        }

    def server_blocks(self) -> list[Block]:
        """Return the finished calls and results of the provider's own tools."""
        blocks: list[Block] = []
        for number in range(self.reply.web_searches):
            use = {
                "type": "server_tool_use",
                "id": _id("srvtoolu"),
                "name": "web_search",
                "input": {"query": f"query {number}"},
                "caller": {"type": "direct"},
            }
            found = {
                "type": "web_search_result",
                "title": "A page",
                "url": f"https://example.com/{number}",
                "encrypted_content": "xxxx",
                "page_age": None,
            }
            result = {
                "type": "web_search_tool_result",
                "tool_use_id": use["id"],
                "content": [found],
                "caller": {"type": "direct"},
            }
            blocks += [use, result]
        return blocks


class MessageEvents:
    """The stream events of one message."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._current: _Place | None = None
        self._index = -1
        self._is_past_tools = False

    def opening(self) -> Iterator[SseEvent]:
        """Yield the message without output, and a thinking of which nothing is shown."""
        yield _event("message_start", message=self._message.opening())
        yield _event("ping")
        if self._message.leading() and not self._message.generation.reasoning_text:
            yield from self._enter(("reasoning", None))
            yield from self._leave()

    def piece(self, piece: Piece) -> Iterator[SseEvent]:
        """Yield a piece of output, and before it what ends the last block and begins this one."""
        place = (piece.part, piece.tool_index)
        if place != self._current:
            yield from self._leave()
            yield from self._enter(place)
        if piece.part == "reasoning":
            yield self._delta("thinking_delta", thinking=piece.text)
        elif piece.part == "tool":
            yield self._delta("input_json_delta", partial_json=piece.text)
        else:
            yield self._delta("text_delta", text=piece.text)

    def closing(self) -> Iterator[SseEvent]:
        """Yield the end of the last block, why the message ended, and its usage."""
        yield from self._leave()
        yield from self._server_tools()
        usage = {} if self._message.reply.omit_usage else self._message.closing_usage()
        delta = {**self._message.stop(), "container": None}
        if usage:
            yield _event("message_delta", delta=delta, usage=usage)
        else:
            yield _event("message_delta", delta=delta)
        yield _event("message_stop")

    def failure(self, reply: Reply) -> Iterator[SseEvent]:
        """Yield the error that ends a broken stream."""
        problem = RefusedError(
            reply.error_message, status=529, code=reply.error_code, kind=reply.error_type
        )
        yield _event("error", error=error_object(problem))

    def _enter(self, place: _Place) -> Iterator[SseEvent]:
        if place[0] != "reasoning":
            yield from self._server_tools()
        self._current = place
        yield self._start(self._message.block(place, is_open=True))

    def _leave(self) -> Iterator[SseEvent]:
        if self._current is None:
            return
        if self._current[0] == "reasoning":
            yield self._delta("signature_delta", signature=_SIGNATURE)
        self._current = None
        yield _event("content_block_stop", index=self._index)

    def _server_tools(self) -> Iterator[SseEvent]:
        """Yield, once, the calls of the provider's own tools."""
        if self._is_past_tools:
            return
        self._is_past_tools = True
        for block in self._message.server_blocks():
            if block["type"] == "server_tool_use":
                yield self._start({**block, "input": {}})
                yield self._delta("input_json_delta", partial_json=json.dumps(block["input"]))
            else:
                yield self._start(block)
            yield _event("content_block_stop", index=self._index)

    def _start(self, block: Block) -> SseEvent:
        self._index += 1
        return _event("content_block_start", index=self._index, content_block=block)

    def _delta(self, kind: str, **fields: str) -> SseEvent:
        return _event("content_block_delta", index=self._index, delta={"type": kind, **fields})


_SIGNATURE = "EqoBCkgIARABGAIiQL" + "x" * 24


def _event(kind: str, **fields: object) -> SseEvent:
    return SseEvent(json.dumps({"type": kind, **fields}, ensure_ascii=False), kind)


def _iteration(one: Iteration) -> dict[str, object]:
    """Return one entry of `usage.iterations`."""
    entry: dict[str, object] = {
        "type": one.type,
        "input_tokens": one.input_tokens,
        "cache_creation_input_tokens": _writes(one),
        "cache_read_input_tokens": one.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": one.cache_write_tokens,
            "ephemeral_1h_input_tokens": one.cache_write_1h_tokens,
        },
        "output_tokens": one.output_tokens,
    }
    return entry | ({} if one.model is None else {"model": one.model})


def _writes(one: Iteration) -> int:
    return one.cache_write_tokens + one.cache_write_1h_tokens


def _arguments(text: str) -> object:
    """Return a tool's input; one that was cut by the limit comes out empty."""
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _id(prefix: str) -> str:
    return f"{prefix}_01{uuid.uuid4().hex[:22]}"
