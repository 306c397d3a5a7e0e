"""Every setting by name: its default and its meaning, from which the reference page is made."""

from __future__ import annotations

import msgspec


class Setting(msgspec.Struct, frozen=True):
    """One environment variable: its name, its default in words, and what it does."""

    name: str
    default: str
    meaning: str


SETTINGS = (
    Setting(
        "TOLLSPAN_HOME",
        "`~/.tollspan`",
        "Folder of the ledger (`ledger.db`), and of `tollspan.yaml` when there is none nearer.",
    ),
    Setting(
        "TOLLSPAN_CONFIG",
        "`./tollspan.yaml`, else the one in `TOLLSPAN_HOME`, else the rules at `TOLLSPAN_ENDPOINT`",
        "The rules' document: a file, or its address, `https://…`: then it is asked for every 10 "
        "seconds, and kept in `TOLLSPAN_HOME` for the next start.",
    ),
    Setting(
        "TOLLSPAN_ENDPOINT",
        "none",
        "The ingest server's address, `https://…`: events are sent there, from the ledger, by "
        "`TOLLSPAN_API_KEY`. It has the rules where no document is named or found here, and holds "
        "the money of budgets where no other authority is named.",
    ),
    Setting(
        "TOLLSPAN_API_KEY",
        "none",
        "Is sent as a bearer token with every question over HTTP. It is in no message and no log.",
    ),
    Setting(
        "TOLLSPAN_COLD_START",
        "`deny`",
        "What becomes of calls while rules at an address have never been had on this host: `deny`, "
        "or `allow`: they are metered and not asked for.",
    ),
    Setting(
        "TOLLSPAN_PRICES",
        "`./prices.yaml`, else the one in `TOLLSPAN_HOME`",
        "Your own prices: negotiated ones, deployments, fine-tunes, tools.",
    ),
    Setting(
        "TOLLSPAN_PRICE_BOOK",
        "the newer of the one that ships with tollspan and the one of `tollspan prices update`",
        "Another price book's file.",
    ),
    Setting(
        "TOLLSPAN_MODE",
        "`enforce`",
        "For incidents. `observe`: nothing is refused, and what would have been is a `shadow` "
        "decision; `off`: budgets are not even asked. Calls are metered, priced and counted in "
        "their budgets all the same, and each event says which mode it was made in.",
    ),
    Setting(
        "TOLLSPAN_FOREIGN_SPANS",
        "`gate`",
        "Spans of calls that only other instrumentors see. `gate`: they are asked for as they "
        "start, and accounted for as they end; `meter`: only accounted for; `off`: left alone.",
    ),
    Setting(
        "TOLLSPAN_ACQUIRE_TIMEOUT",
        "`0.25`",
        "Seconds that a call may wait for the budgets before `on_unavailable` decides.",
    ),
    Setting(
        "TOLLSPAN_AUTHORITY",
        "what the rules' document says, else `TOLLSPAN_ENDPOINT`, else `sqlite:`",
        "Who holds the money of budgets. `sqlite:` the ledger's own file, for all processes of a "
        "host; `sqlite:FOLDER` a ledger in another folder; `redis://…`, `rediss://…`, `unix://…` "
        "(extra `redis`), `postgresql://…` (extra `postgresql`), and `https://…` of an ingest "
        "server, with `TOLLSPAN_API_KEY`: for many hosts, each of which keeps its events in its "
        "own ledger; `memory:` this process alone, and what is spent is forgotten with it.",
    ),
    Setting(
        "TOLLSPAN_LEASE",
        "`first=4,most=256,life=30,idle=10,renew=0.25,drift=1,hurry=0.5,horizon=86400`",
        "Leases: for how many calls at `first` and at `most`; seconds that they live at a shared "
        "authority, that they lie idle before they go back, that clocks may drift apart, within "
        "which one that is used up is doubled (`hurry`), and after which what an ended one leaves "
        "open counts as spent (`horizon`); more is asked for when less than the share `renew` is "
        "left. Name those that differ.",
    ),
    Setting(
        "TOLLSPAN_JOB_HORIZON",
        "`35`",
        "Days after which what is held for a job, whose end nobody has seen, is unresolved.",
    ),
    Setting(
        "TOLLSPAN_LEASES",
        "`auto`",
        "Whether calls are decided from what the process was granted before. `auto`: once other "
        "processes of the host often have the ledger's file, and at a shared authority; `always`; "
        "`never`: at a shared authority each call is then granted by itself. What a process that "
        "is killed had left of its grants stays counted as unresolved.",
    ),
    Setting(
        "TOLLSPAN_LEDGER_SIZE",
        "`1024`",
        "Greatest size of the ledger's file in MiB. Beyond it events are folded into totals that "
        "keep every sum: first those that were sent to the ingest API.",
    ),
    Setting(
        "TOLLSPAN_DURABILITY",
        "`process`",
        "`process`: events survive the death of the process; `fsync`: power cuts too, at the cost "
        "of a disk flush a call.",
    ),
    Setting("TOLLSPAN_LOG_LEVEL", "`WARNING`", "Level of the `tollspan` loggers."),
    Setting(
        "TOLLSPAN_STRICT",
        "`false`",
        "`true`: `tollspan run` refuses to start a program whose calls it could not gate.",
    ),
    Setting(
        "TOLLSPAN_METRIC_DIMENSIONS",
        "none",
        "Dimensions that become labels of tollspan's own metrics, `customer,feature` say; budgets "
        "that are divided by these alone are told account by account. Each value is a time series.",
    ),
    Setting(
        "TOLLSPAN_SEMCONV_COST",
        "`false`",
        "`true`: spans of models tell their cost as `gen_ai.usage.cost.*` too, as OpenTelemetry's "
        "conventions propose it (pull request 443, not merged: it may change).",
    ),
    Setting("TOLLSPAN_CUSTOMER", "none", "Customer who pays where nobody else says it."),
    Setting("TOLLSPAN_SESSION", "none", "The same for the session."),
    Setting("TOLLSPAN_USER", "none", "The same for the user."),
    Setting("TOLLSPAN_AGENT", "none", "The same for the agent."),
    Setting("TOLLSPAN_FEATURE", "none", "The same for the feature."),
    Setting("TOLLSPAN_STEP", "none", "The same for the step."),
    Setting("TOLLSPAN_TEAM", "none", "The same for the team."),
    Setting("TOLLSPAN_PROJECT", "none", "The same for the project."),
    Setting("TOLLSPAN_TAGS", "none", "The same for tags: `tier=free,region=eu`."),
    Setting(
        "TOLLSPAN_BAGGAGE",
        "`off`",
        "`write`: what blocks say of who pays goes on to services that are called, in W3C baggage; "
        "`read`: what comes in is trusted; `both`. It never reaches a provider.",
    ),
    Setting(
        "TOLLSPAN_BAGGAGE_SECRET",
        "none",
        "Seals what is in the baggage: the same 16 characters or more in every service.",
    ),
    Setting(
        "TOLLSPAN_BAGGAGE_DIMENSIONS",
        "`customer`",
        "What is in the baggage: `customer,session,tag.tier`.",
    ),
    Setting(
        "OTEL_SDK_DISABLED",
        "`false`",
        "`true`: no spans. Calls are gated, metered and priced all the same.",
    ),
    Setting(
        "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS",
        "none",
        "`*` or `tollspan` among the names: no spans of ours; `tollspan-openai`, "
        "`tollspan-anthropic`: none for that SDK. `openai` means others' instrumentors, not ours. "
        "The gate stays.",
    ),
    Setting(
        "OTEL_CONFIG_FILE",
        "none",
        "OpenTelemetry's declarative configuration: its `tracer_provider` is used when the program "
        "sets up none of its own, and the three variables below are left alone.",
    ),
    Setting(
        "OTEL_TRACES_EXPORTER",
        "`otlp` where an endpoint is set",
        "Where spans go when the program sets up no tracer provider of its own; `none`: nowhere.",
    ),
    Setting(
        "OTEL_METRICS_EXPORTER",
        "`otlp` where an endpoint is set",
        "The same for metrics, where the program sets up no meter provider of its own.",
    ),
    Setting(
        "OTEL_LOGS_EXPORTER",
        "`otlp` where an endpoint is set",
        "The same for log events, where the program sets up no logger provider of its own.",
    ),
    Setting(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "none",
        "The same for all three, by address (`OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `…METRICS…` and "
        "`…LOGS…` for one of them).",
    ),
    Setting(
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "`grpc`",
        "`grpc` or `http/protobuf` (`OTEL_EXPORTER_OTLP_TRACES_PROTOCOL`, `…METRICS…` and "
        "`…LOGS…` for one of them).",
    ),
    Setting(
        "OTEL_METRIC_EXPORT_INTERVAL",
        "`60000`",
        "Milliseconds between two exports of metrics.",
    ),
    Setting("OTEL_SERVICE_NAME", "none", "The service in events and reports."),
    Setting(
        "OTEL_RESOURCE_ATTRIBUTES",
        "none",
        "`service.name` and `deployment.environment.name` out of it, for events and reports.",
    ),
)
