"""Every setting, read once: arguments, `TOLLSPAN_*`, standard `OTEL_*`, defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tollspan.usage import Attribution, ConfigError

DOCUMENT = "tollspan.yaml"


class Setting(msgspec.Struct, frozen=True):
    """One environment variable: its name, its default in words, and what it does."""

    name: str
    default: str
    meaning: str


SETTINGS = (
    Setting(
        "TOLLSPAN_HOME",
        "`~/.local/state/tollspan`",
        "Folder of the ledger (`ledger.db`), and of `tollspan.yaml` when there is none nearer.",
    ),
    Setting(
        "TOLLSPAN_CONFIG",
        "`./tollspan.yaml`, else the one in `TOLLSPAN_HOME`",
        "The rules' document.",
    ),
    Setting("TOLLSPAN_PRICES", "the book that ships with tollspan", "Another price book's file."),
    Setting(
        "TOLLSPAN_ACQUIRE_TIMEOUT",
        "`0.25`",
        "Seconds that a call may wait for the budgets before `on_unavailable` decides.",
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
    Setting("TOLLSPAN_CUSTOMER", "none", "Customer who pays where nobody else says it."),
    Setting("TOLLSPAN_SESSION", "none", "The same for the session."),
    Setting("TOLLSPAN_USER", "none", "The same for the user."),
    Setting("TOLLSPAN_AGENT", "none", "The same for the agent."),
    Setting("TOLLSPAN_FEATURE", "none", "The same for the feature."),
    Setting("TOLLSPAN_STEP", "none", "The same for the step."),
    Setting("TOLLSPAN_TEAM", "none", "The same for the team."),
    Setting("TOLLSPAN_PROJECT", "none", "The same for the project."),
)

_DIMENSIONS = ("customer", "session", "user", "agent", "feature", "step", "team", "project")
_LONGEST_VALUE = 256
_TRUE = frozenset({"1", "true", "yes", "on"})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says.

    Attributes:
        home: The ledger's folder.
        document: The rules' file; None when there is none.
        prices: Another price book's file; None for the shipped one.
        acquire_timeout_seconds: Longest wait of a call for the budgets.
        is_durable: Wait for the disk at each event.
        log_level: Name of a level of `logging`.
        is_strict: Refuse to start rather than start without a gate.
        attribution: Who pays by default.
        makes_spans: False when the standard settings silence this instrumentation.
        wants_tracing: The standard settings name a trace exporter or an OTLP endpoint.
    """

    home: Path
    document: Path | None
    prices: Path | None
    acquire_timeout_seconds: float
    is_durable: bool
    log_level: str
    is_strict: bool
    attribution: Attribution
    makes_spans: bool
    wants_tracing: bool


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Read every setting.

    Raises:
        ConfigError: A value is wrong; the text names the variable and what is expected.
    """
    env = os.environ if environ is None else environ
    home = _home(env)
    return Settings(
        home=home,
        document=_document(env, home),
        prices=_path(env, "TOLLSPAN_PRICES"),
        acquire_timeout_seconds=_seconds(env, "TOLLSPAN_ACQUIRE_TIMEOUT", 0.25),
        is_durable=_choice(env, "TOLLSPAN_DURABILITY", ("process", "fsync")) == "fsync",
        log_level=_choice(
            env, "TOLLSPAN_LOG_LEVEL", ("WARNING", "DEBUG", "INFO", "ERROR", "CRITICAL")
        ),
        is_strict=_is_true(env, "TOLLSPAN_STRICT"),
        attribution=_attribution(env),
        makes_spans=not _is_silenced(env),
        wants_tracing=_wants_tracing(env),
    )


def _home(env: Mapping[str, str]) -> Path:
    given = env.get("TOLLSPAN_HOME")
    if given:
        return Path(given).expanduser().absolute()
    state = env.get("XDG_STATE_HOME")
    base = Path(state) if state else Path("~/.local/state").expanduser()
    return (base / "tollspan").absolute()


def _document(env: Mapping[str, str], home: Path) -> Path | None:
    given = _path(env, "TOLLSPAN_CONFIG")
    if given is not None:
        return given
    for path in (Path.cwd() / DOCUMENT, home / DOCUMENT):
        if path.is_file():
            return path
    return None


def _path(env: Mapping[str, str], name: str) -> Path | None:
    value = env.get(name)
    return Path(value).expanduser().absolute() if value else None


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    value = env.get(name)
    if not value:
        return default
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise ConfigError(f"{name} is {value!r}; expected seconds from 0 to 3600, such as 0.25")
    return seconds


def _choice(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = env.get(name) or choices[0]
    if value not in choices:
        raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(choices)}")
    return value


def _is_true(env: Mapping[str, str], name: str) -> bool:
    return env.get(name, "").strip().lower() in _TRUE


def _attribution(env: Mapping[str, str]) -> Attribution:
    values: dict[str, str] = {}
    for dimension in _DIMENSIONS:
        name = f"TOLLSPAN_{dimension.upper()}"
        value = env.get(name)
        if not value:
            continue
        if len(value) > _LONGEST_VALUE or not value.isprintable():
            raise ConfigError(
                f"{name} has {len(value)} characters or control characters in it; "
                f"expected 1 to {_LONGEST_VALUE} printable ones"
            )
        values[dimension] = value
    resource = dict(
        pair.split("=", 1)
        for pair in env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
        if "=" in pair
    )
    service = env.get("OTEL_SERVICE_NAME") or resource.get("service.name")
    environment = resource.get("deployment.environment.name") or resource.get(
        "deployment.environment"
    )
    return Attribution(
        customer=values.get("customer"),
        session=values.get("session"),
        user=values.get("user"),
        agent=values.get("agent"),
        feature=values.get("feature"),
        step=values.get("step"),
        team=values.get("team"),
        project=values.get("project"),
        service=service,
        environment=environment,
    )


def _is_silenced(env: Mapping[str, str]) -> bool:
    disabled = {
        name.strip() for name in env.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")
    }
    return _is_true(env, "OTEL_SDK_DISABLED") or bool(
        disabled & {"*", "tollspan", "tollspan-openai"}
    )


def _wants_tracing(env: Mapping[str, str]) -> bool:
    exporter = env.get("OTEL_TRACES_EXPORTER", "")
    if exporter:
        return exporter.strip().lower() != "none"
    return bool(
        env.get("OTEL_EXPORTER_OTLP_ENDPOINT") or env.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )
