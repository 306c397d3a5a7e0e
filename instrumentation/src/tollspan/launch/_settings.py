"""Every setting, read once: arguments, `TOLLSPAN_*`, standard `OTEL_*`, defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import msgspec

from tollspan.budget import LeaseSettings
from tollspan.usage import (
    DIMENSIONS,
    Attribution,
    AttributionError,
    ConfigError,
    Mode,
    check_value,
    is_tag,
    read_attribution,
)

from ._places import Places, RulesNamedBy

if TYPE_CHECKING:
    from tollspan.attribution import Baggage

PRICES = "prices.yaml"

ForeignSpans = Literal["gate", "meter", "off"]
Leases = Literal["auto", "always", "never"]
OnColdStart = Literal["deny", "allow"]
_LEASE_CALLS = ("first", "most")
_LEASE_NAMES = {
    "first": "first",
    "most": "most",
    "life": "life_seconds",
    "idle": "idle_seconds",
    "renew": "renew_share",
    "drift": "drift_seconds",
    "hurry": "hurry_seconds",
    "horizon": "horizon_seconds",
}
_Choice = TypeVar("_Choice", bound=str)
_ENTRY_POINT = "tollspan-"
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says.

    Attributes:
        home: Our folder: of prices, and of the rules where there are none nearer.
        ledger_home: The ledger's folder, which is `home` unless the authority names another.
        document: The rules' file; None when there is none. Of rules at an address, their copy.
        rules_url: The address of the rules; None where they are a file.
        rules_named_by: Where it is said, or was found, that these are the rules.
        endpoint: The ingest server; None for none. Without a key it takes nothing.
        api_key: Is shown to whoever is asked over HTTP; None for none.
        on_cold_start: What becomes of calls while rules at an address have never been had.
        prices: The operator's own prices' file; None when there is none.
        price_book: Another price book's file; None to choose one.
        mode: What the gate may do.
        foreign_spans: What becomes of calls that only other people's spans tell of.
        acquire_timeout_seconds: Longest wait of a call for the budgets.
        authority: Who holds the money: `memory:`, `sqlite:`, or the address of a shared one.
        names_authority: TOLLSPAN_AUTHORITY says so, and the rules' document does not matter.
        leases: When calls are decided from leases.
        lease: How leases are sized and kept.
        job_horizon_seconds: After so long, what is held for a job is unresolved.
        ledger_bytes: The greatest size of the ledger's file.
        is_durable: Wait for the disk at each event.
        log_level: Name of a level of `logging`.
        is_strict: Refuse to start rather than start without a gate.
        attribution: Who pays by default.
        baggage: How attribution travels between services; None for not at all.
        makes_spans: False when the standard settings silence every span of ours.
        silenced: The instrumentors that they silence one by one: `openai` for `tollspan-openai`.
        wants_tracing: The standard settings name a trace exporter or an OTLP endpoint.
        wants_metrics, wants_logs: The same for metrics and logs.
        metric_dimensions: Fields of `Attribution` that are labels of our metrics.
        tells_semconv_cost: Spans tell the cost by the conventions' proposed names too.
    """

    home: Path
    ledger_home: Path
    document: Path | None
    rules_url: str | None
    rules_named_by: RulesNamedBy
    endpoint: str | None
    api_key: str | None
    on_cold_start: OnColdStart
    prices: Path | None
    price_book: Path | None
    mode: Mode
    foreign_spans: ForeignSpans
    acquire_timeout_seconds: float
    authority: str
    names_authority: bool
    leases: Leases
    lease: LeaseSettings
    job_horizon_seconds: float
    ledger_bytes: int
    is_durable: bool
    log_level: str
    is_strict: bool
    attribution: Attribution
    baggage: Baggage | None
    makes_spans: bool
    silenced: frozenset[str]
    wants_tracing: bool
    wants_metrics: bool
    wants_logs: bool
    metric_dimensions: frozenset[str]
    tells_semconv_cost: bool


def read_settings(
    environ: Mapping[str, str] | None = None,
    *,
    on_wrong: Callable[[ConfigError], None] | None = None,
) -> Settings:
    """Read every setting.

    Args:
        environ: The environment; None for this process's.
        on_wrong: Is told of each value that is wrong, and the default is taken; None to raise.

    Raises:
        ConfigError: A value is wrong; the text names the variable and what is expected.
    """
    env = _Environment(os.environ if environ is None else environ, on_wrong or _raise)
    home = env.home()
    endpoint = env.endpoint()
    rules_url, document, rules_named_by = env.rules(home, endpoint)
    authority, ledger_home = env.authority(home, endpoint)
    acquire_timeout_seconds = env.seconds("TOLLSPAN_ACQUIRE_TIMEOUT", 0.25)
    return Settings(
        home=home,
        ledger_home=ledger_home,
        document=document,
        rules_url=rules_url,
        rules_named_by=rules_named_by,
        endpoint=endpoint,
        api_key=env.key(),
        on_cold_start=env.choice("TOLLSPAN_COLD_START", get_args(OnColdStart)),
        prices=env.file("TOLLSPAN_PRICES", PRICES, home),
        price_book=env.path("TOLLSPAN_PRICE_BOOK"),
        mode=env.choice("TOLLSPAN_MODE", get_args(Mode)),
        foreign_spans=env.choice("TOLLSPAN_FOREIGN_SPANS", get_args(ForeignSpans)),
        acquire_timeout_seconds=acquire_timeout_seconds,
        authority=authority,
        names_authority=env.is_set("TOLLSPAN_AUTHORITY"),
        leases=env.choice("TOLLSPAN_LEASES", get_args(Leases)),
        lease=env.lease(acquire_timeout_seconds),
        job_horizon_seconds=env.days("TOLLSPAN_JOB_HORIZON", 35.0) * 86_400.0,
        ledger_bytes=env.mebibytes("TOLLSPAN_LEDGER_SIZE", 1024) << 20,
        is_durable=env.choice("TOLLSPAN_DURABILITY", ("process", "fsync")) == "fsync",
        log_level=env.choice(
            "TOLLSPAN_LOG_LEVEL", ("WARNING", "DEBUG", "INFO", "ERROR", "CRITICAL")
        ),
        is_strict=env.is_true("TOLLSPAN_STRICT"),
        attribution=env.attribution(),
        baggage=env.baggage(),
        makes_spans=not env.is_silenced(),
        silenced=env.silenced(),
        wants_tracing=env.wants("TRACES"),
        wants_metrics=env.wants("METRICS"),
        wants_logs=env.wants("LOGS"),
        metric_dimensions=env.dimensions("TOLLSPAN_METRIC_DIMENSIONS"),
        tells_semconv_cost=env.is_true("TOLLSPAN_SEMCONV_COST"),
    )


def read_home() -> Path:
    """Read where our folder is, and nothing else.

    Raises:
        ConfigError: It is said wrongly.
    """
    return _Environment(os.environ, _raise).home()


def _raise(error: ConfigError) -> None:
    raise error


class _Environment(Places):
    """Reads values out of an environment; a wrong one is told, and its default is taken."""

    def seconds(self, name: str, default: float) -> float:
        """Return a span of time."""
        value = self._env.get(name)
        if not value:
            return default
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        if not 0 <= seconds <= 3600:
            self._wrong(f"{name} is {value!r}; expected seconds from 0 to 3600, such as 0.25")
            return default
        return seconds

    def days(self, name: str, default: float) -> float:
        """Return a longer span of time."""
        value = self._env.get(name)
        if not value:
            return default
        try:
            days = float(value)
        except ValueError:
            days = -1.0
        if not 0 < days <= 3650:
            self._wrong(f"{name} is {value!r}; expected days, more than 0 and up to 3650")
            return default
        return days

    def mebibytes(self, name: str, default: int) -> int:
        """Return a size in MiB."""
        value = self._env.get(name)
        if not value:
            return default
        if not (value.isascii() and value.isdecimal() and 16 <= int(value) <= 1 << 20):
            self._wrong(f"{name} is {value!r}; expected MiB, from 16 to 1048576")
            return default
        return int(value)

    def lease(self, wait_seconds: float) -> LeaseSettings:
        """Return how leases are sized and kept."""
        found: dict[str, float] = {}
        for pair in self._env.get("TOLLSPAN_LEASE", "").split(","):
            name, _, value = (part.strip() for part in pair.partition("="))
            if not name:
                continue
            try:
                found[_LEASE_NAMES[name]] = int(value) if name in _LEASE_CALLS else float(value)
            except (KeyError, ValueError):
                self._wrong(
                    f"TOLLSPAN_LEASE has {pair.strip()!r}; expected numbers for some of "
                    f"{', '.join(_LEASE_NAMES)}: first=4,life=30"
                )
        try:
            return msgspec.convert({**found, "wait_seconds": wait_seconds}, LeaseSettings)
        except (ConfigError, msgspec.ValidationError) as error:
            self._wrong(f"TOLLSPAN_LEASE: {error}")
            return LeaseSettings(wait_seconds=wait_seconds)

    def choice(self, name: str, choices: tuple[_Choice, ...]) -> _Choice:
        """Return one of the choices, the first by default."""
        value = self._env.get(name)
        if not value:
            return choices[0]
        for choice in choices:
            if choice == value:
                return choice
        self._wrong(f"{name} is {value!r}; expected one of {', '.join(choices)}")
        return choices[0]

    def is_true(self, name: str) -> bool:
        """Say whether a switch is on."""
        value = self._env.get(name, "").strip().lower()
        if value not in _TRUE | _FALSE:
            self._wrong(f"{name} is {value!r}; expected true or false")
        return value in _TRUE

    def attribution(self) -> Attribution:
        """Return who pays by default."""
        values: dict[str, object] = {}
        for dimension in DIMENSIONS:
            name = f"TOLLSPAN_{dimension.upper()}"
            value = self._env.get(name)
            if value:
                try:
                    values[dimension] = check_value(name, value)
                except AttributionError as error:
                    self._on_wrong(error)
        stated = read_attribution(
            {**values, "tags": self._tags()}, place="TOLLSPAN_TAGS: ", on_wrong=self._on_wrong
        )
        resource = dict(
            pair.split("=", 1)
            for pair in self._env.get("OTEL_RESOURCE_ATTRIBUTES", "").split(",")
            if "=" in pair
        )
        service = self._env.get("OTEL_SERVICE_NAME") or resource.get("service.name")
        environment = resource.get("deployment.environment.name") or resource.get(
            "deployment.environment"
        )
        return msgspec.structs.replace(
            stated, service=service or None, environment=environment or None
        )

    def baggage(self) -> Baggage | None:
        """Return how attribution travels between services; None for not at all."""
        mode = self.choice("TOLLSPAN_BAGGAGE", ("off", "read", "write", "both"))
        if mode == "off":
            return None
        # OpenTelemetry's context comes with it, which who looks at the books does not need.
        from tollspan.attribution import SHORTEST_SECRET, Baggage  # noqa: PLC0415

        secret = self._env.get("TOLLSPAN_BAGGAGE_SECRET", "")
        if len(secret) < SHORTEST_SECRET:
            self._wrong(
                f"TOLLSPAN_BAGGAGE_SECRET has {len(secret)} characters, and TOLLSPAN_BAGGAGE is "
                f"{mode}; expected {SHORTEST_SECRET} or more, the same in every service"
            )
            return None
        return Baggage(
            secret=secret,
            dimensions=self._baggage_dimensions(),
            reads=mode in ("read", "both"),
            writes=mode in ("write", "both"),
        )

    def _baggage_dimensions(self) -> tuple[str, ...]:
        """Return what travels in the baggage."""
        found: list[str] = []
        for name in self._env.get("TOLLSPAN_BAGGAGE_DIMENSIONS", "").split(","):
            dimension = name.strip()
            if dimension in DIMENSIONS or is_tag(dimension):
                found.append(dimension)
            elif dimension:
                self._wrong(
                    f"TOLLSPAN_BAGGAGE_DIMENSIONS has {dimension!r}; "
                    f"expected some of {', '.join(DIMENSIONS)}, or tags such as tag.tier"
                )
        return tuple(found) or ("customer",)

    def _tags(self) -> dict[str, str]:
        """Return tags, each name once."""
        found: dict[str, str] = {}
        for pair in self._env.get("TOLLSPAN_TAGS", "").split(","):
            name, is_pair, value = (part.strip() for part in pair.partition("="))
            if is_pair and name not in found:
                found[name] = value
            elif name:
                self._wrong(
                    f"TOLLSPAN_TAGS has {pair.strip()!r}; expected each name once, with a value: "
                    "tier=free,region=eu"
                )
        return found

    def is_silenced(self) -> bool:
        """Say whether the standard settings silence every span of ours."""
        return self._is_sdk_disabled() or not self._disabled().isdisjoint({"*", "tollspan"})

    def silenced(self) -> frozenset[str]:
        """Return the instrumentors whose spans the standard settings silence one by one."""
        ours = [name for name in self._disabled() if name.startswith(_ENTRY_POINT)]
        return frozenset(name.removeprefix(_ENTRY_POINT) for name in ours)

    def _disabled(self) -> set[str]:
        names = self._env.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "")
        return {name.strip() for name in names.split(",")}

    def wants(self, signal: str) -> bool:
        """Say whether the standard settings ask for a signal to be exported."""
        if self._env.get("OTEL_CONFIG_FILE"):
            return signal == "TRACES"  # what is in it decides, and no other standard variable does
        exporters = {
            name.strip().lower() for name in self._env.get(f"OTEL_{signal}_EXPORTER", "").split(",")
        } - {""}
        if exporters:
            return exporters != {"none"}
        return bool(
            self._env.get("OTEL_EXPORTER_OTLP_ENDPOINT")
            or self._env.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        )

    def dimensions(self, name: str) -> frozenset[str]:
        """Return some of the dimensions."""
        values = {value.strip().lower() for value in self._env.get(name, "").split(",")} - {""}
        if unknown := values - set(DIMENSIONS):
            known = ", ".join(DIMENSIONS)
            self._wrong(f"{name} has {', '.join(sorted(unknown))}; expected some of {known}")
        return frozenset(values) & frozenset(DIMENSIONS)

    def _is_sdk_disabled(self) -> bool:
        # OpenTelemetry's own rule: nothing but "true" is true.
        return self._env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
