"""Write docs/reference/telemetry.md from the code: `.venv/bin/python scripts/telemetry_page.py`.

Names, kinds, units and buckets come from `tollspan.semconv`. What is said of each attribute is
here: one that is in `semconv` and not in these tables fails the test of the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tollspan import semconv

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "telemetry.md"
# Attribute → its type and what it says. On spans of calls, in the order of the page.
REQUEST: dict[str, tuple[str, str]] = {
    semconv.GEN_AI_OPERATION_NAME: (
        "string",
        (
            "`chat`, `text_completion`, `embeddings`, `generate_content`, `execute_tool`, and "
            "our own word `moderation`"
        ),
    ),
    semconv.GEN_AI_PROVIDER_NAME: ("string", "whose host it is: see [providers](providers.md)"),
    semconv.GEN_AI_REQUEST_MODEL: (
        "string",
        "as it was sent: as the program named it, unless a budget rerouted the call",
    ),
    semconv.SERVER_ADDRESS: ("string", "host of the client's base URL"),
    semconv.SERVER_PORT: ("int", "where it is not the scheme's own"),
    semconv.GEN_AI_REQUEST_STREAM: ("bool", "for streams, true"),
    semconv.GEN_AI_REQUEST_MAX_TOKENS: ("int", "where the program gave a maximum"),
    semconv.GEN_AI_REQUEST_CHOICE_COUNT: ("int", "where it asked for more than one answer"),
    semconv.GEN_AI_REQUEST_TEMPERATURE: ("double", "where given"),
    semconv.GEN_AI_REQUEST_TOP_P: ("double", "where given"),
    semconv.GEN_AI_REQUEST_TOP_K: ("double", "where given"),
    semconv.GEN_AI_REQUEST_FREQUENCY_PENALTY: ("double", "where given"),
    semconv.GEN_AI_REQUEST_PRESENCE_PENALTY: ("double", "where given"),
    semconv.GEN_AI_REQUEST_SEED: ("int", "where given"),
    semconv.GEN_AI_REQUEST_STOP_SEQUENCES: ("string[]", "where given"),
    semconv.GEN_AI_REQUEST_REASONING_LEVEL: ("string", "where an effort was given"),
    semconv.GEN_AI_REQUEST_PREVIOUS_RESPONSE_ID: ("string", "where given"),
    semconv.GEN_AI_REQUEST_ENCODING_FORMATS: (
        "string[]",
        "of vectors, as sent: OpenAI's SDK asks for `base64` where the program says nothing",
    ),
    semconv.GEN_AI_EMBEDDINGS_DIMENSION_COUNT: ("int", "of vectors, where given"),
    semconv.GEN_AI_CONVERSATION_ID: ("string", "the `conversation` of a response, never made up"),
    semconv.GEN_AI_OUTPUT_TYPE: ("string", "`text`, `json` or `speech`, where asked for"),
    semconv.OPENAI_REQUEST_SERVICE_TIER: ("string", "where given and not `auto`"),
}
RESPONSE: dict[str, tuple[str, str]] = {
    semconv.GEN_AI_RESPONSE_ID: ("string", "the provider's id of the answer"),
    semconv.GEN_AI_RESPONSE_MODEL: ("string", "the model that answered"),
    semconv.GEN_AI_RESPONSE_FINISH_REASONS: ("string[]", "one for each answer"),
    semconv.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: ("double", "seconds, of streams"),
    semconv.OPENAI_RESPONSE_SERVICE_TIER: ("string", "the tier that ran; not for Anthropic"),
    semconv.ANTHROPIC_RESPONSE_SERVICE_TIER: ("string", "the tier that ran"),
    semconv.ERROR_TYPE: (
        "string",
        "of failures: a status, an exception's class, or `tollspan.…` for a [denial](denials.md)",
    ),
    semconv.GEN_AI_USAGE_INPUT_TOKENS: ("int", "all input, what came out of a cache too"),
    semconv.GEN_AI_USAGE_OUTPUT_TOKENS: ("int", "all output, reasoning too"),
    semconv.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: ("int", "of the input, where not 0"),
    semconv.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: ("int", "of the input, where not 0"),
    semconv.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: ("int", "of the output, where not 0"),
    semconv.GEN_AI_USAGE_TEXT_INPUT_TOKENS: ("int", "where a call had more than text"),
    semconv.GEN_AI_USAGE_IMAGE_INPUT_TOKENS: ("int", "where not 0"),
    semconv.GEN_AI_USAGE_AUDIO_INPUT_TOKENS: ("int", "where not 0"),
    semconv.GEN_AI_USAGE_VIDEO_INPUT_TOKENS: ("int", "where not 0"),
    semconv.GEN_AI_USAGE_TEXT_OUTPUT_TOKENS: ("int", "where a call had more than text"),
    semconv.GEN_AI_USAGE_IMAGE_OUTPUT_TOKENS: ("int", "where not 0"),
    semconv.GEN_AI_USAGE_AUDIO_OUTPUT_TOKENS: ("int", "where not 0"),
}
TOOLS: dict[str, tuple[str, str]] = {
    semconv.GEN_AI_TOOL_NAME: ("string", "as in prices and rules"),
    semconv.GEN_AI_TOOL_TYPE: ("string", "`function`, of `@tool`"),
    semconv.GEN_AI_TOOL_CALL_ID: ("string", "the model's id of the call, where `call_id` names it"),
    semconv.MCP_METHOD_NAME: ("string", "`tools/call`"),
    semconv.MCP_PROTOCOL_VERSION: ("string", "as client and server agreed"),
    semconv.MCP_SESSION_ID: ("string", "where the transport has one"),
    semconv.JSONRPC_REQUEST_ID: ("string", "of the request"),
    semconv.NETWORK_TRANSPORT: ("string", "`tcp` or `pipe`, where it is known"),
}
OURS: dict[str, tuple[str, str]] = {
    semconv.TOLLSPAN_CALL_ID: ("string", "the id of the call's event in the ledger"),
    semconv.TOLLSPAN_DECISION: (
        "string",
        "what the gate said: `allow`, `shadow`, `warn`, `clamp`, `reroute`, `deny`",
    ),
    semconv.TOLLSPAN_RULE_ID: ("string", "the rule that refused, warned or only watched"),
    semconv.TOLLSPAN_ASKED_MODEL: (
        "string",
        "the model that the program named, where it went out with another",
    ),
    semconv.TOLLSPAN_CLAMPED_TO: (
        "int",
        "the maximum of output that was sent instead, where one was",
    ),
    semconv.TOLLSPAN_CLAMPED_FROM: ("int", "the program's own maximum, where it gave one"),
    semconv.TOLLSPAN_COST_NANOUSD: ("int", "the exact cost in billionths of a US dollar"),
    semconv.TOLLSPAN_COST_USD: ("double", "the same in US dollars, for people"),
    semconv.TOLLSPAN_COST_STATUS: (
        "string",
        "`priced`, `partial`, `unpriced`, `unknown`, `not_billed`",
    ),
    semconv.TOLLSPAN_JOB_ID: (
        "string",
        "the provider's job that the call was accepted as; its cost is known later",
    ),
    semconv.TOLLSPAN_USAGE_STATUS: ("string", "`reported`, `estimated`, `unknown`"),
    semconv.TOLLSPAN_MCP_SERVER_NAME: ("string", "of MCP calls: the server, as it names itself"),
    semconv.TOLLSPAN_CUSTOMER_ID: ("string", "who pays: each where it is known"),
    semconv.SESSION_ID: ("string", ""),
    semconv.USER_ID: ("string", ""),
    semconv.GEN_AI_AGENT_NAME: ("string", ""),
    semconv.TOLLSPAN_FEATURE: ("string", ""),
    semconv.TOLLSPAN_STEP: ("string", ""),
    semconv.TOLLSPAN_TEAM: ("string", ""),
    semconv.TOLLSPAN_PROJECT: ("string", ""),
}
COST: dict[str, tuple[str, str]] = {
    semconv.GEN_AI_USAGE_COST_AMOUNT: ("double", "the cost in the currency"),
    semconv.GEN_AI_USAGE_COST_CURRENCY: ("string", "`USD`"),
    semconv.GEN_AI_USAGE_COST_SOURCE: (
        "string",
        "`local`: by the price book; `provider`: as it said itself",
    ),
}
EVENT: dict[str, tuple[str, str]] = {
    semconv.TOLLSPAN_BUDGET_LIMIT: ("int", "the limit of the account that refused"),
    semconv.TOLLSPAN_BUDGET_SPENT: ("int", "what was spent of it"),
    semconv.TOLLSPAN_BUDGET_HELD: ("int", "what calls hold of it"),
    semconv.TOLLSPAN_BUDGET_ASKED: ("int", "the most that this call could have cost"),
    semconv.TOLLSPAN_BUDGET_UNIT: ("string", "what these four count: `nanousd`, `tokens`, `calls`"),
    semconv.TOLLSPAN_BUDGET_SCOPE: ("string", "whose account it is, as JSON, if it is divided"),
}
WARNING: dict[str, tuple[str, str]] = {
    semconv.TOLLSPAN_WARNING_REASON: (
        "string",
        "`share`, `exceeded`, `policy`, `overrun`, `unresolved.call`, `.process` or `.lease`",
    ),
    semconv.TOLLSPAN_WARNING_SHARE: ("double", "the share of the limit that is used"),
    semconv.TOLLSPAN_WARNING_AMOUNT: ("int", "the overrun, or what became unresolved"),
}
_OF_CALLS = (
    semconv.GEN_AI_OPERATION_NAME,
    semconv.GEN_AI_PROVIDER_NAME,
    semconv.GEN_AI_REQUEST_MODEL,
    semconv.GEN_AI_RESPONSE_MODEL,
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.ERROR_TYPE,
)
_OF_CALLS_AND_TOOLS = (
    *_OF_CALLS,
    semconv.GEN_AI_TOOL_NAME,
    semconv.GEN_AI_TOOL_TYPE,
    semconv.MCP_METHOD_NAME,
)
_OF_BUDGETS = (
    semconv.TOLLSPAN_BUDGET_ID,
    semconv.TOLLSPAN_BUDGET_UNIT,
    semconv.TOLLSPAN_BUDGET_SCOPE,
)
LABELS: dict[str, tuple[str, ...]] = {
    semconv.METRIC_OPERATION_DURATION.name: _OF_CALLS,
    semconv.METRIC_TOKEN_USAGE.name: (*_OF_CALLS, semconv.GEN_AI_TOKEN_TYPE),
    semconv.METRIC_TIME_TO_FIRST_CHUNK.name: _OF_CALLS,
    semconv.METRIC_TIME_PER_OUTPUT_CHUNK.name: _OF_CALLS,
    semconv.METRIC_EXECUTE_TOOL_DURATION.name: (
        semconv.GEN_AI_OPERATION_NAME,
        semconv.GEN_AI_TOOL_NAME,
        semconv.GEN_AI_TOOL_TYPE,
        semconv.ERROR_TYPE,
    ),
    semconv.METRIC_MCP_DURATION.name: (
        semconv.GEN_AI_OPERATION_NAME,
        semconv.GEN_AI_TOOL_NAME,
        semconv.MCP_METHOD_NAME,
        semconv.ERROR_TYPE,
    ),
    semconv.METRIC_COST.name: _OF_CALLS_AND_TOOLS,
    semconv.METRIC_TOKENS.name: (*_OF_CALLS_AND_TOOLS, semconv.TOLLSPAN_TOKEN_BUCKET),
    semconv.METRIC_DECISIONS.name: (
        *_OF_CALLS_AND_TOOLS,
        semconv.TOLLSPAN_DECISION,
        semconv.TOLLSPAN_RULE_ID,
    ),
    semconv.METRIC_UNPRICED.name: _OF_CALLS_AND_TOOLS,
    semconv.METRIC_OVERRUNS.name: _OF_CALLS_AND_TOOLS,
    semconv.METRIC_WARNINGS.name: (semconv.TOLLSPAN_RULE_ID, semconv.TOLLSPAN_WARNING_REASON),
    semconv.METRIC_GATE_DURATION.name: (semconv.TOLLSPAN_DECISION,),
    semconv.METRIC_BUDGET_LIMIT.name: _OF_BUDGETS,
    semconv.METRIC_BUDGET_SPENT.name: _OF_BUDGETS,
    semconv.METRIC_BUDGET_HELD.name: _OF_BUDGETS,
    semconv.METRIC_BUDGET_UNRESOLVED.name: _OF_BUDGETS,
    semconv.METRIC_BUDGET_REMAINING.name: _OF_BUDGETS,
    semconv.METRIC_BUDGET_PERIOD.name: _OF_BUDGETS,
    semconv.METRIC_BUDGET_RESETS_IN.name: _OF_BUDGETS,
    semconv.METRIC_LEASE_GRANTED.name: _OF_BUDGETS[:2],
    semconv.METRIC_LEASE_REMAINING.name: _OF_BUDGETS[:2],
    semconv.METRIC_LEASE_REQUESTS.name: (),
    semconv.METRIC_LEASE_FAILURES.name: (),
    semconv.METRIC_LEASE_WAITS.name: (),
    semconv.METRIC_LEASE_LOST.name: (),
    semconv.METRIC_SETTLING_EVENTS.name: (),
    semconv.METRIC_OUTBOX_EVENTS.name: (),
    semconv.METRIC_OUTBOX_AGE.name: (),
    semconv.METRIC_SHIPPING_WAITING.name: (),
    semconv.METRIC_SHIPPING_AGE.name: (),
    semconv.METRIC_SHIPPING_SENT.name: (),
    semconv.METRIC_SHIPPING_REJECTED.name: (),
    semconv.METRIC_SHIPPING_FAILURES.name: (semconv.ERROR_TYPE,),
    semconv.METRIC_INTERNAL_ERRORS.name: (semconv.TOLLSPAN_PLACE, semconv.ERROR_TYPE),
}
NOT_ON_SPANS = frozenset(
    {
        semconv.OPENINFERENCE_SPAN_KIND,  # read, not told
        semconv.TOLLSPAN_TAG_PREFIX,  # and a name of the user's own
        semconv.BAGGAGE_PREFIX,
        semconv.SERVICE_NAME,  # of the resource
        semconv.SERVICE_INSTANCE_ID,
        semconv.DEPLOYMENT_ENVIRONMENT_NAME,
    }
)
TEXT = """\
<!-- Generated by scripts/telemetry_page.py from tollspan.semconv. -->
# What OpenTelemetry sees

One span for each call, metrics, and log events for warnings and for decisions that are no plain
`allow`, under the scope `tollspan` with its version and the schema `{schema}`.

Names that begin with `gen_ai`, `openai`, `anthropic`, `server`, `session`, `user` and `error` are
OpenTelemetry's, as of the conventions for generative AI in November 2026, which are still in
development. Names that begin with `tollspan` are ours.

**No content**: prompts, answers, tools' arguments, keys and headers are on no span, in no metric
and in no log event. `OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT` changes nothing of that.

Where they go: to the program's own providers, whenever it sets them up. Where it has none, tollspan
sets up private ones by the standard variables (see [settings](settings.md)): with
`OTEL_EXPORTER_OTLP_ENDPOINT` set, all three are exported. A backend that takes traces alone answers
404 to the others: set `OTEL_METRICS_EXPORTER=none` and `OTEL_LOGS_EXPORTER=none` for it.
None of it opens the gate or changes the books.

## Spans of calls

Named `{{gen_ai.operation.name}} {{gen_ai.request.model}}`, of kind CLIENT. A call that failed or
was refused has the status ERROR. A stream that was left early has not: `tollspan.usage.status` says
that its usage was estimated. Where another instrumentor makes the span of a call, only what is ours
is put on that one.

### What is asked

{request}

### What was answered

{response}

Vectors and moderations have no output tokens, and none are told. `openai.api.type` and
`openai.response.system_fingerprint` are not told: each would make a call dearer than its use.

### Of tools

A tool of the program's own is named `execute_tool {{gen_ai.tool.name}}`, of kind INTERNAL; one at
an MCP server `tools/call {{gen_ai.tool.name}}`, of kind CLIENT.

{tools}

### Ours

{ours}

### With `TOLLSPAN_SEMCONV_COST=true`

On spans of models alone, as the conventions' pull request 443 proposes them. It is not merged, and
may change.

{cost}

## Metrics

{metrics}

- Recorded in a thread of tollspan's, with the span's context, so that exemplars lead to traces.
- `gen_ai.*` metrics of a call are recorded by one instrumentor only: not by tollspan, where another
  one does.
- Of each stream the first 256 chunks are timed, one by one. Raw responses have no chunks.
- Who pays is no label: each customer or session would be a time series of its own.
  `TOLLSPAN_METRIC_DIMENSIONS=customer` makes it one of `tollspan.cost`, `tollspan.tokens`,
  `tollspan.decisions`, `tollspan.unpriced_calls` and `tollspan.overruns`, and tells budgets that
  are divided by customer, one by one.
- `tollspan.tokens` has each token in one bucket, `tollspan.token.bucket`: `input_uncached`,
  `cache_read`, `cache_write` (`cache_write_5m`, `cache_write_1h`), `output`, `reasoning`, and those
  of audio, images and video, as in [events](schemas/event.v1.schema.json). Unlike the conventions'
  own metric it tells what came out of a cache, and of calls too that another instrumentor measures.
- `tollspan.budget.*` are read from the ledger when metrics are collected, by a connection of their
  own: the accounts of the windows in force, in US dollars, tokens, calls or another unit, as
  `tollspan.budget.unit` says; `tollspan.budget.scope` is there for divided budgets. Every process
  of a host tells the same numbers, and so it is with `tollspan.outbox.*`: take the highest, not the
  sum.
- `tollspan.budget.period` is there for windows that a clock ends, and `tollspan.budget.resets_in`
  for those of the calendar, at whose end all of the limit is there again; a lifetime has neither.
- `tollspan.lease.*` are of one process, and there while it decides from leases
  ([concepts](../concepts/leases.md)): many failures are an authority that can't be reached, many
  waits are leases that are too small, and a lost lease leaves money unresolved.
- `tollspan.settling.events` is there with an authority that many hosts share. It is near 0 in good
  times; every process of a host tells the same number.
- `tollspan.outbox.*` is 0 in good times. Events wait when the disk or the ledger's file fails.
- `tollspan.shipping.*` are there where events are [sent](../how-to/ship-events.md). Each process of
  a host tells the same `waiting` and `age`: take the highest; the other three are each process's
  own: take the sum. `error.type` of a failure is `timeout`, `unreachable`, `certificate`,
  `redirect`, `unreadable`, `wrong_tenant`, `ledger`, or the status that was answered.
- A forked child starts its sums at 0, under a `service.instance.id` of its own, where the meter
  provider is tollspan's.
- OpenTelemetry's SDK of 1.30 takes the buckets of its own; give it views, or a newer SDK.

Buckets, in the metric's unit:

{buckets}

## The log event `{event}`

For each call that was refused (`deny`), let through with a warning (`warn`), or would have been
refused by a rule on trial (`shadow`). Its severity is WARN, for `shadow` INFO; it is in the trace
context of the call's span, and its time is the call's start. It needs OpenTelemetry 1.37 or newer:
before, its API can't name events, and none are told.

Its attributes are `{on_event}`, and, of a denial by a budget:

{account}

Amounts are whole numbers: money is in `nanousd`, billionths of a US dollar.

## The log event `{warning_event}`

For each warning that the program's functions get ([warnings](../how-to/budgets.md#hear-of-it)): a
budget that runs low or was passed (`share`, `exceeded`), a policy that only warns (`policy`), a
call that used more than was held for it (`overrun`), and money that became unresolved: of a call
that does not tell all that it used, of a process that died, of a lease that ended
(`unresolved.call`, `unresolved.process`, `unresolved.lease`). Its severity is WARN.

{warning}

Besides these it has `tollspan.rule.id`, and where there is one `tollspan.call.id`; of budgets
`tollspan.budget.unit` and `tollspan.budget.scope`; of those that run low or were passed
`tollspan.budget.limit`, `tollspan.budget.spent` and `tollspan.budget.held`.
"""


def page() -> str:
    """Return the page."""
    on_event = (
        semconv.TOLLSPAN_DECISION,
        semconv.TOLLSPAN_RULE_ID,
        semconv.ERROR_TYPE,
        semconv.TOLLSPAN_CALL_ID,
        semconv.GEN_AI_OPERATION_NAME,
        semconv.GEN_AI_PROVIDER_NAME,
        semconv.GEN_AI_REQUEST_MODEL,
    )
    return TEXT.format(
        schema=semconv.SCHEMA_URL,
        request=_table(REQUEST),
        response=_table(RESPONSE),
        tools=_table(TOOLS),
        ours=_table(OURS),
        cost=_table(COST),
        metrics=_metrics(),
        buckets=_buckets(),
        event=semconv.EVENT_DECISION,
        on_event="`, `".join(on_event),
        account=_table(EVENT),
        warning_event=semconv.EVENT_WARNING,
        warning=_table(WARNING),
    )


def told() -> frozenset[str]:
    """Return every attribute that the page tells of."""
    of_metrics = {label for labels in LABELS.values() for label in labels}
    return frozenset({*REQUEST, *RESPONSE, *TOOLS, *OURS, *COST, *EVENT, *WARNING, *of_metrics})


def _table(attributes: Mapping[str, tuple[str, str]]) -> str:
    rows = [f"| `{name}` | {kind} | {meaning} |" for name, (kind, meaning) in attributes.items()]
    return "\n".join(["| attribute | type | |", "|---|---|---|", *rows])


def _metrics() -> str:
    rows = [
        f"| `{one.name}` | {one.kind} | `{one.unit}` | {one.description} | {_labels(one)} |"
        for one in semconv.METRICS
    ]
    head = ["| metric | kind | unit | | labels |", "|---|---|---|---|---|"]
    of_calls = f"*call*: {_names(_OF_CALLS)}, each where it is known."
    return "\n".join([*head, *rows, "", of_calls])


def _labels(metric: semconv.Metric) -> str:
    labels = LABELS[metric.name]
    if labels[: len(_OF_CALLS)] != _OF_CALLS:
        return _names(labels)
    return ", ".join(["*call*", *[f"`{label}`" for label in labels[len(_OF_CALLS) :]]])


def _names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _buckets() -> str:
    rows = [
        f"| `{one.name}` | {', '.join(f'{bound:.10g}' for bound in one.buckets)} |"
        for one in semconv.METRICS
        if one.buckets
    ]
    return "\n".join(["| metric | upper bounds |", "|---|---|", *rows])


if __name__ == "__main__":
    PAGE.write_text(page())
