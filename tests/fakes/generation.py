"""What a fake model generates for one request: scripted output, held to the request's limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tests.fakes import tokens
from tests.fakes.replies import DEFAULT_TEXT, Reply, ToolCall
from tests.fakes.values import positive_int

MAX_OUTPUT_TOKENS = 16_384
_SNAPSHOTS = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "o4-mini": "o4-mini-2025-04-16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One fragment of output: of the text, or of one tool call (`opens` it with its name)."""

    text: str
    tool_index: int | None = None
    opens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The whole of one answer. All choices are alike; token counts without a note are of all.

    Attributes:
        model: As the request names it.
        served_model: As the answer names it.
        reasoning_tokens: Of one choice.
        visible_tokens: Text and tool calls of one choice.
        pieces: Of one choice, in order; empty unless the answer is streamed.
    """

    model: str
    served_model: str
    service_tier: str
    choices: int
    prompt_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    visible_tokens: int
    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: str
    pieces: tuple[Piece, ...]
    count: tokens.Count

    @property
    def output_tokens(self) -> int:
        """Tokens of the whole answer, reasoning and all choices included."""
        return self.choices * (self.reasoning_tokens + self.visible_tokens)

    def output_tokens_after(self, pieces_sent: int) -> int:
        """Tokens generated when so many pieces of each choice were sent (none before the first)."""
        if pieces_sent >= len(self.pieces):
            return self.output_tokens
        if not pieces_sent:
            return 0
        sent: dict[int | None, str] = {}
        visible = 0
        for piece in self.pieces[:pieces_sent]:
            sent[piece.tool_index] = sent.get(piece.tool_index, "") + piece.text
            if piece.opens and piece.tool_index is not None:
                visible += self.count(self.tool_calls[piece.tool_index].name)
        visible += sum(map(self.count, sent.values()))
        return self.choices * (self.reasoning_tokens + visible)


def generate(
    request: Mapping[str, object],
    reply: Reply,
    count: tokens.Count,
    *,
    input_tokens: int | None = None,
) -> Generation:
    """Generate the answer of a chat request (already validated).

    `input_tokens` stands in for the count of its messages.
    """
    model = str(request["model"])
    prompt = input_tokens if reply.prompt_tokens is None else reply.prompt_tokens
    prompt = tokens.prompt_tokens(request, count) if prompt is None else prompt
    limit = positive_int(request.get("max_completion_tokens")) or positive_int(
        request.get("max_tokens")
    )
    limit = min(limit or MAX_OUTPUT_TOKENS, MAX_OUTPUT_TOKENS)
    reasoning = min(reply.reasoning_tokens, limit)
    fragments = _fragments(reply)
    text, calls, visible = _within("".join(fragments), reply.tool_calls, limit - reasoning, count)
    was_cut = reply.reasoning_tokens > reasoning or calls != reply.tool_calls
    was_cut = was_cut or len(text) < sum(map(len, fragments))
    natural = "length" if was_cut else "tool_calls" if calls else "stop"
    tier = request.get("service_tier")
    return Generation(
        model=model,
        served_model=reply.model or _SNAPSHOTS.get(model, model),
        service_tier=reply.service_tier
        or (tier if isinstance(tier, str) and tier != "auto" else "default"),
        choices=positive_int(request.get("n")) or 1,
        prompt_tokens=prompt,
        cached_tokens=min(reply.cached_tokens, prompt),
        reasoning_tokens=reasoning,
        visible_tokens=visible,
        text=text,
        tool_calls=calls,
        finish_reason=reply.finish_reason or natural,
        pieces=_pieces(fragments, text, calls) if request.get("stream") else (),
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
    fragments: tuple[str, ...], text: str, calls: tuple[ToolCall, ...]
) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    rest = len(text)
    for fragment in fragments:
        if rest <= 0:
            break
        pieces.append(Piece(text=fragment[:rest]))
        rest -= len(fragment)
    for index, call in enumerate(calls):
        pieces.append(Piece(text="", tool_index=index, opens=True))
        pieces.extend(Piece(text=part, tool_index=index) for part in tokens.pieces(call.arguments))
    return tuple(pieces)
