"""What is asked of a provider: the request's shape, who pays, and the call that joins them."""

from __future__ import annotations

import msgspec

from .blocks import BlockBudget
from .usage import Quantities

LOCAL_TENANT = "local"
# The provider of the caller's own tools: each has prices by its name, the operator's or its own.
TOOL_PROVIDER = "tool"


class Attribution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who pays for a call, captured once when the call starts.

    Every dimension is 1 to 256 characters without control characters, or None when nobody said it
    (shown as `unattributed`). `tags` holds (name, value) pairs sorted by name; `budgets` those of
    the blocks that the call is made in, the outermost first. `trace` is the trace that the call is
    part of, 32 hex digits, kept where a rule goes by traces; None outside of any. `finishing` marks
    what ends a piece of work that was begun: budgets may keep a part of their limit for that.
    """

    tenant: str = LOCAL_TENANT
    customer: str | None = None
    session: str | None = None
    user: str | None = None
    agent: str | None = None
    feature: str | None = None
    step: str | None = None
    team: str | None = None
    project: str | None = None
    service: str | None = None
    environment: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    budgets: tuple[BlockBudget, ...] = ()
    trace: str | None = None
    finishing: bool = False


class Request(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The priced shape of one provider request; it holds no content.

    Attributes:
        provider: `gen_ai.provider.name` of the semantic conventions, `openai` say.
        operation: `gen_ai.operation.name`, `chat` say.
        model: The model's name as the caller gave it.
        host: Host of the client's base URL, `""` when unknown.
        port: Its port, or None for the scheme's default.
        is_assumed: The host is in no table, so the SDK's own provider was assumed.
        input_bytes: UTF-8 bytes of everything sent that becomes input tokens; at least that many.
        unbounded: Why `input_bytes` does not bound the input tokens (`media`, say); empty when it
            does.
        max_output_tokens: The caller's own limit for one choice, None when the caller gave none.
        choices: How many answers were asked for (`n`).
        prediction_bytes: UTF-8 bytes of predicted output; rejected ones are billed as output.
        service_tier: As asked for; None when not.
        is_stream: The caller asked for a stream.
        region: Where the provider is to run it, where that changes the price (`eu`, `us`,
            `us-west-2`); None when nothing says so. A regional host counts by itself.
        quantities: (unit, most) pairs: how much of each unit besides tokens the call can use at
            most, sorted; see `UNITS`.
        unlimited: Units besides tokens that nothing limits: server-side tools without a maximum.
        rounds: How often the model may read the input within the call at most: 1, and 1 for each
            call of a server-side tool that is allowed.
        never: Input buckets that the call can't fill, whatever the model: `cache_write_1h` without
            a wish to write the cache for an hour, say.
        input_reserve_tokens: Input tokens, of all rounds, that the caller declares to be enough
            where `input_bytes` is no bound; None to take the context window.
        declared: (unit, pico-USD for one) pairs: what the program itself says that its own tool
            costs, sorted. The operator's prices of the same units come before it.
        server: Name of the MCP server that is asked, `""` when it says none; None for what is no
            call over MCP.
        calls: How many calls it stands for: of a batch, all of one model.
    """

    provider: str
    operation: str
    model: str
    host: str = ""
    port: int | None = None
    is_assumed: bool = False
    input_bytes: int = 0
    unbounded: tuple[str, ...] = ()
    max_output_tokens: int | None = None
    choices: int = 1
    prediction_bytes: int = 0
    service_tier: str | None = None
    is_stream: bool = False
    region: str | None = None
    quantities: Quantities = ()
    unlimited: tuple[str, ...] = ()
    rounds: int = 1
    never: tuple[str, ...] = ()
    input_reserve_tokens: int | None = None
    declared: Quantities = ()
    server: str | None = None
    calls: int = 1


class Call(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider call, fixed before it is made.

    Attributes:
        id: UUIDv7, 32 hex digits; the idempotency key of everything that follows.
        started_at_unix_ns: Start, nanoseconds since the epoch; prices and windows are chosen by it.
        request: What is asked.
        attribution: Who pays.
        door: Which door the call came through: `instrumentor`, `processor`, `gate` or `http`;
            `report` for what the program says it has used already.
    """

    id: str
    started_at_unix_ns: int
    request: Request
    attribution: Attribution
    door: str = "instrumentor"
