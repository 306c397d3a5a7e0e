"""The doctor looks at OpenTelemetry's settings: what ends its start-up, and where spans go."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import entry_points

from tollspan.launch import auto_launch_problem

from ._checks import Check, Patient, good, problem, warning

# Variable → the group of entry points in which its names are looked up, and names that need none.
_NAMED = {
    "OTEL_TRACES_EXPORTER": "opentelemetry_traces_exporter",
    "OTEL_METRICS_EXPORTER": "opentelemetry_metrics_exporter",
    "OTEL_LOGS_EXPORTER": "opentelemetry_logs_exporter",
    "OTEL_PROPAGATORS": "opentelemetry_propagator",
    "OTEL_PYTHON_ID_GENERATOR": "opentelemetry_id_generator",
}
_NOTHING = {"", "none"}
_PROTOCOLS = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_PROTOCOL_OF = {
    "OTEL_TRACES_EXPORTER": "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_METRICS_EXPORTER": "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    "OTEL_LOGS_EXPORTER": "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
}
_ANY_PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"
_CONFIG_FILE = "OTEL_CONFIG_FILE"


def _start(patient: Patient) -> Iterator[Check]:
    wrong = [
        *_missing(patient.environ),
        *_protocols(patient.environ),
        *_config_file(patient.environ),
    ]
    # What no look at variables finds, a try does; it takes a second or two.
    tried = None if wrong else auto_launch_problem()
    if tried is not None:
        wrong = [tried]
    if wrong:
        yield problem(
            "otel.start",
            f"{'; '.join(wrong)}: where a distro configures OpenTelemetry, "
            "`opentelemetry-instrument` gives up its start-up there, before tollspan's hook runs, "
            "and nothing is gated",
            "install what is named or take it out of the variable; or put `tollspan run` in front, "
            "whose gate does not depend on it",
        )
        return
    yield good("otel.start", "`opentelemetry-instrument` was tried, and tollspan was installed")


def _missing(environ: dict[str, str]) -> Iterator[str]:
    for variable, group in _NAMED.items():
        names = [name.strip() for name in environ.get(variable, "").split(",")]
        for name in names:
            if name.lower() in _NOTHING or (name == "otlp" and variable in _PROTOCOL_OF):
                continue
            if not entry_points(group=group, name=name):
                yield f"{variable} names {name!r}, which is not installed"


def _protocols(environ: dict[str, str]) -> Iterator[str]:
    for variable in (_ANY_PROTOCOL, *_PROTOCOL_OF.values()):
        protocol = environ.get(variable, "")
        if protocol and protocol not in _PROTOCOLS:
            yield f"{variable} is {protocol!r}; expected {' or '.join(_PROTOCOLS)}"


def _config_file(environ: dict[str, str]) -> Iterator[str]:
    name = environ.get(_CONFIG_FILE, "")
    if name and not os.path.isfile(name):
        yield f"{_CONFIG_FILE} names {name!r}, and there is no such file"


def _spans(patient: Patient) -> Iterator[Check]:
    settings = patient.settings
    if not settings.makes_spans:
        yield warning(
            "otel.spans",
            "OTEL_SDK_DISABLED or OTEL_PYTHON_DISABLED_INSTRUMENTATIONS silences tollspan's spans; "
            "calls are gated, metered and priced all the same",
            "take the variable out to see calls in traces",
        )
    elif settings.wants_tracing:
        where = patient.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or patient.environ.get(
            "OTEL_EXPORTER_OTLP_ENDPOINT"
        )
        names = patient.environ.get("OTEL_TRACES_EXPORTER") or "otlp"
        yield good(
            "otel.spans",
            f"spans go to the program's tracer provider, else to {names}"
            f"{f' at {_without_secrets(where)}' if where else ''}",
        )
    else:
        yield good(
            "otel.spans",
            "spans go to the program's tracer provider; without one there are none, since no "
            "exporter and no endpoint is set",
        )


def _without_secrets(url: str) -> str:
    """Return an address without user, password and query, which may hold keys."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url.rpartition("@")[2].partition("?")[0]
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


CHECKS = (_start, _spans)
