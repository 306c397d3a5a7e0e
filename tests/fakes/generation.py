"""What a fake model generates for one request: scripted output, held to the request's limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from tests.fakes import tokens
from tests.fakes.books import Consumed
from tests.fakes.replies import DEFAULT_TEXT, Reply, ToolCall

MAX_OUTPUT_TOKENS = 16_384
_SNAPSHOTS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
    "claude-haiku-4-5": "claude-haiku-4-5-20251001",
}

Part = Literal["reasoning", "text", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """What a request asks of a model, whatever the protocol.

    Attributes:
        prompt_tokens: As the fake counts them, all of them.
        choices: Answers that are shown.
        sampled: Answers that are generated, and billed.
        is_streamed: It needs pieces.
        shows_reasoning: The protocol has a place for `Reply.reasoning_text`.
        has_tools: The protocol has a place for `Reply.tool_calls`.
        service_tier: In which the request runs if the reply says nothing else.
    """

    model: str
    prompt_tokens: int
    max_output_tokens: int | None = None
    choices: int = 1
    sampled: int = 1
    is_streamed: bool = False
    shows_reasoning: bool = False
    has_tools: bool = True
    service_tier: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One fragment of output: of the text, say, or of one tool call (`opens` comes first)."""

    text: str
    part: Part = "text"
    tool_index: int | None = None
    opens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The whole of one answer. All choices are alike; token counts without a note are of all.

    Attributes:
        ask: What it answers.
        served_model: As the answer names it.
        reasoning_tokens: Of one choice.
        visible_tokens: Text and tool calls of one choice.
        finish_reason: In OpenAI's words, unless the reply says another.
        pieces: Of one choice, in order; empty unless the answer is streamed.
    """

    ask: Ask
    served_model: str
    service_tier: str
    prompt_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    cache_write_1h_tokens: int
    reasoning_tokens: int
    visible_tokens: int
    reasoning_text: str
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    pieces: tuple[Piece, ...]
    count: tokens.Count

    @property
    def choices(self) -> int:
        """How many answers are shown."""
        return self.ask.choices

    @property
    def output_tokens(self) -> int:
        """Tokens of the whole answer, reasoning and all choices included."""
        return self.ask.sampled * (self.reasoning_tokens + self.visible_tokens)

    @property
    def uncached_tokens(self) -> int:
        """Tokens of the prompt that no cache gave or took."""
        writes = self.cache_write_tokens + self.cache_write_1h_tokens
        return self.prompt_tokens - self.cached_tokens - writes

    def consumed(self, **units: int) -> Consumed:
        """Return what is billed for the whole of it, and for units beside tokens."""
        return Consumed(
            prompt_tokens=self.prompt_tokens,
            cached_tokens=self.cached_tokens,
            cache_write_tokens=self.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens,
            output_tokens=self.output_tokens,
            units={unit: count for unit, count in units.items() if count},
        )

    def output_tokens_after(self, pieces_sent: int) -> int:
        """Tokens generated when so many pieces of each choice were sent (none before the first)."""
        if pieces_sent >= len(self.pieces):
            return self.output_tokens
        if not pieces_sent:
            return 0
        sent: dict[int | None, str] = {}
        visible = 0
        for piece in self.pieces[:pieces_sent]:
            if piece.part == "reasoning":
                continue
            sent[piece.tool_index] = sent.get(piece.tool_index, "") + piece.text
            if piece.opens and piece.tool_index is not None:
                visible += self.count(self.tool_calls[piece.tool_index].name)
        visible += sum(map(self.count, sent.values()))
        return self.ask.sampled * (self.reasoning_tokens + visible)


def generate(ask: Ask, reply: Reply, count: tokens.Count) -> Generation:
    """Generate the answer of a request (already validated)."""
    limit = min(ask.max_output_tokens or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS)
    reasoning_text = reply.reasoning_text if ask.shows_reasoning else ""
    wanted = reply.reasoning_tokens or count(reasoning_text)
    reasoning = min(wanted, limit)
    fragments = _fragments(reply)
    asked_calls = reply.tool_calls if ask.has_tools else ()
    text, calls, visible = _within("".join(fragments), asked_calls, limit - reasoning, count)
    was_cut = wanted > reasoning or calls != asked_calls
    was_cut = was_cut or len(text) < sum(map(len, fragments))
    natural = "length" if was_cut else "tool_calls" if calls else "stop"
    prompt = ask.prompt_tokens if reply.prompt_tokens is None else reply.prompt_tokens
    cached = min(reply.cached_tokens, prompt)
    written = min(reply.cache_write_tokens, prompt - cached)
    return Generation(
        ask=ask,
        served_model=reply.model or _SNAPSHOTS.get(ask.model, ask.model),
        service_tier=reply.service_tier or ask.service_tier,
        prompt_tokens=prompt,
        cached_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(reply.cache_write_1h_tokens, prompt - cached - written),
        reasoning_tokens=reasoning,
        visible_tokens=visible,
        reasoning_text=reasoning_text,
        text=text,
        tool_calls=calls,
        finish_reason=reply.finish_reason or natural,
        pieces=tuple(_pieces(reasoning_text, fragments, text, calls)) if ask.is_streamed else (),
        count=count,
    )


def _fragments(reply: Reply) -> tuple[str, ...]:
    if reply.chunks is not None:
        return reply.chunks
    if reply.output_tokens is not None:
        return tokens.words(reply.output_tokens)
    return tokens.pieces(DEFAULT_TEXT if reply.text is None else reply.text)


def _within(
    text: str, calls: tuple[ToolCall, ...], limit: int, count: tokens.Count
) -> tuple[str, tuple[ToolCall, ...], int]:
    """Return the text and tool calls that fit a limit, and their tokens."""
    used = count(text)
    if used > limit:
        text = tokens.truncate(text, tokens=limit, count=count)
        return text, (), count(text)
    kept: list[ToolCall] = []
    for call in calls:
        name = count(call.name)
        if used + name > limit:
            break
        arguments = call.arguments
        if used + name + count(arguments) > limit:
            arguments = tokens.truncate(arguments, tokens=limit - used - name, count=count)
        kept.append(replace(call, arguments=arguments))
        used += name + count(arguments)
    return text, tuple(kept), used


def _pieces(
    reasoning: str, fragments: tuple[str, ...], text: str, calls: tuple[ToolCall, ...]
) -> Iterator[Piece]:
    for part in tokens.pieces(reasoning):
        yield Piece(text=part, part="reasoning")
    rest = len(text)
    for fragment in fragments:
        if rest <= 0:
            break
        yield Piece(text=fragment[:rest])
        rest -= len(fragment)
    for index, call in enumerate(calls):
        yield Piece(text="", part="tool", tool_index=index, opens=True)
        for part in tokens.pieces(call.arguments):
            yield Piece(text=part, part="tool", tool_index=index)
