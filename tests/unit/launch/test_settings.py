"""Settings: what the environment says, and what is said of what is wrong in it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import settings_page
from tollspan.exporter import copy_of
from tollspan.launch import SETTINGS, read_settings
from tollspan.usage import ConfigError

SOURCE = Path(__file__).resolve().parents[3] / "instrumentation/src/tollspan/launch"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param("TOLLSPAN_ACQUIRE_TIMEOUT", "soon", "expected seconds from 0 to 3600"),
        pytest.param("TOLLSPAN_ACQUIRE_TIMEOUT", "-1", "expected seconds from 0 to 3600"),
        pytest.param("TOLLSPAN_ACQUIRE_TIMEOUT", "nan", "expected seconds from 0 to 3600"),
        pytest.param("TOLLSPAN_DURABILITY", "always", "expected one of process, fsync"),
        pytest.param("TOLLSPAN_LOG_LEVEL", "loud", "expected one of WARNING, DEBUG"),
        pytest.param("TOLLSPAN_METRIC_DIMENSIONS", "owner", "expected some of customer, session"),
        pytest.param("TOLLSPAN_SEMCONV_COST", "maybe", "expected true or false"),
        pytest.param("TOLLSPAN_STRICT", "perhaps", "expected true or false"),
        pytest.param("TOLLSPAN_CUSTOMER", "x" * 257, "has 257 characters; expected 1 to 256"),
        pytest.param("TOLLSPAN_TEAM", "a\nb", "control character U+000A at position 1"),
        pytest.param("TOLLSPAN_HOME", "~no-such-user/x", "expected a path"),
        pytest.param("TOLLSPAN_TAGS", "tier", "'tier'; expected each name once, with a value"),
        pytest.param("TOLLSPAN_TAGS", "a=1,a=2", "has 'a=2'; expected each name once"),
        pytest.param("TOLLSPAN_TAGS", "tier=", "tag tier has 0 characters"),
        pytest.param("TOLLSPAN_TAGS", "a b=1", "a tag's name is 'a b'"),
        pytest.param("TOLLSPAN_BAGGAGE", "yes", "expected one of off, read, write, both"),
        pytest.param("TOLLSPAN_BAGGAGE", "read", "_SECRET has 0 characters"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_expected(
    name: str, value: str, expected: str, tmp_path: Path
) -> None:
    environ = {"TOLLSPAN_HOME": str(tmp_path), name: value}
    with pytest.raises(ConfigError, match=re.escape(expected)) as caught:
        read_settings(environ)
    assert str(caught.value).startswith(name)


def test_tags_are_a_default_like_any_dimension(tmp_path: Path) -> None:
    told: list[ConfigError] = []
    environ = {
        "TOLLSPAN_HOME": str(tmp_path),
        "TOLLSPAN_CUSTOMER": "acme",
        "TOLLSPAN_TAGS": " tier=free, region=eu=west,,no,",
    }
    attribution = read_settings(environ, on_wrong=told.append).attribution
    assert attribution.customer == "acme"
    assert attribution.tags == (("region", "eu=west"), ("tier", "free"))
    assert len(told) == 1


def test_baggage_needs_a_secret_and_names_what_travels(tmp_path: Path) -> None:
    home = {"TOLLSPAN_HOME": str(tmp_path)}
    secret = {"TOLLSPAN_BAGGAGE_SECRET": "sixteen characters and more"}
    assert read_settings({**home, **secret}).baggage is None
    found = read_settings({**home, **secret, "TOLLSPAN_BAGGAGE": "both"}).baggage
    assert found is not None
    assert (found.reads, found.writes, found.dimensions) == (True, True, ("customer",))
    assert "sixteen" not in repr(found)
    environ = {
        **home,
        **secret,
        "TOLLSPAN_BAGGAGE": "read",
        "TOLLSPAN_BAGGAGE_DIMENSIONS": "customer, tag.tier,planet",
    }
    told: list[ConfigError] = []
    found = read_settings(environ, on_wrong=told.append).baggage
    assert found is not None
    assert (found.reads, found.writes) == (True, False)
    assert found.dimensions == ("customer", "tag.tier")
    assert [str(each).partition(";")[0] for each in told] == [
        "TOLLSPAN_BAGGAGE_DIMENSIONS has 'planet'"
    ]


def test_a_wrong_value_may_be_told_and_its_default_taken(tmp_path: Path) -> None:
    told: list[ConfigError] = []
    environ = {
        "TOLLSPAN_HOME": str(tmp_path),
        "TOLLSPAN_ACQUIRE_TIMEOUT": "soon",
        "TOLLSPAN_CUSTOMER": "\x00",
        "TOLLSPAN_TEAM": "red",
    }
    settings = read_settings(environ, on_wrong=told.append)
    assert len(told) == 2
    assert settings.acquire_timeout_seconds == 0.25
    assert settings.attribution.customer is None
    assert settings.attribution.team == "red"


def test_without_any_home_no_ledger_can_be_made() -> None:
    told: list[ConfigError] = []
    settings = read_settings({"TOLLSPAN_HOME": "~no-such-user"}, on_wrong=told.append)
    assert settings.home.is_relative_to(os.devnull)
    assert len(told) == 1


def test_the_nearest_document_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.chdir(here)
    environ = {"TOLLSPAN_HOME": str(home)}
    assert read_settings(environ).document is None
    (home / "tollspan.yaml").touch()
    assert read_settings(environ).document == home / "tollspan.yaml"
    (here / "tollspan.yaml").touch()
    assert read_settings(environ).document == here / "tollspan.yaml"
    named = {**environ, "TOLLSPAN_CONFIG": "named.yaml"}
    assert read_settings(named).document == here / "named.yaml"


def test_the_ingest_server_has_rules_and_money_where_nobody_says_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {
        "TOLLSPAN_HOME": str(tmp_path / "home"),
        "TOLLSPAN_ENDPOINT": "HTTPS://tollspan.example.com/",
        "TOLLSPAN_API_KEY": "tsp_1",
    }
    served = read_settings(environ)
    assert served.endpoint == served.authority == "https://tollspan.example.com"
    assert served.rules_url == "https://tollspan.example.com/v1/rules"
    assert served.document == copy_of(served.rules_url, tmp_path / "home")
    assert (served.rules_named_by, served.names_authority) == ("TOLLSPAN_ENDPOINT", False)
    other = read_settings(
        {**environ, "TOLLSPAN_AUTHORITY": "sqlite:", "TOLLSPAN_CONFIG": "https://rules.example/r"}
    )
    assert (other.authority, other.names_authority) == ("sqlite:", True)
    assert (other.rules_url, other.rules_named_by) == ("https://rules.example/r", "TOLLSPAN_CONFIG")
    (tmp_path / "tollspan.yaml").touch()
    nearer = read_settings(environ)
    assert (nearer.rules_url, nearer.document) == (None, tmp_path / "tollspan.yaml")
    assert nearer.rules_named_by == "the working folder"
    assert nearer.authority == served.authority


def test_an_ingest_server_without_a_key_is_told_and_no_budget_is_kept_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told: list[ConfigError] = []
    environ = {"TOLLSPAN_HOME": str(tmp_path), "TOLLSPAN_ENDPOINT": "https://tollspan.example.com"}
    found = read_settings(environ, on_wrong=told.append)
    assert "TOLLSPAN_API_KEY is not" in str(told)
    assert (found.authority, found.api_key) == ("https://tollspan.example.com", None)
    assert found.rules_named_by == "TOLLSPAN_ENDPOINT"


def test_a_working_folder_that_is_gone_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, gone = tmp_path / "home", tmp_path / "gone"
    home.mkdir()
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert read_settings({"TOLLSPAN_HOME": str(home)}).document is None


@pytest.mark.parametrize(
    ("environ", "makes_spans"),
    [
        pytest.param({}, True, id="nothing set"),
        pytest.param({"OTEL_SDK_DISABLED": "TRUE"}, False, id="disabled"),
        pytest.param({"OTEL_SDK_DISABLED": "1"}, True, id="nothing but true is true"),
        pytest.param({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "redis,*"}, False, id="all"),
        pytest.param({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "a , tollspan"}, False, id="ours"),
        pytest.param({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "openai"}, True, id="others'"),
        pytest.param({"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "tollspan-openai"}, True, id="one"),
    ],
)
def test_standard_switches_silence_spans(
    environ: dict[str, str], tmp_path: Path, *, makes_spans: bool
) -> None:
    assert read_settings({"TOLLSPAN_HOME": str(tmp_path), **environ}).makes_spans is makes_spans


@pytest.mark.parametrize(
    ("names", "silenced"),
    [
        pytest.param("", set[str](), id="none"),
        pytest.param("openai,anthropic", set[str](), id="others'"),
        pytest.param("redis, tollspan-openai", {"openai"}, id="one"),
        pytest.param("tollspan-openai,tollspan-anthropic", {"openai", "anthropic"}, id="both"),
    ],
)
def test_each_instrumentor_is_silenced_by_the_name_of_its_entry_point(
    names: str, silenced: set[str], tmp_path: Path
) -> None:
    environ = {"TOLLSPAN_HOME": str(tmp_path), "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": names}
    assert read_settings(environ).silenced == silenced


@pytest.mark.parametrize(
    ("environ", "wants_tracing"),
    [
        pytest.param({}, False, id="nothing set"),
        pytest.param({"OTEL_TRACES_EXPORTER": "console"}, True, id="an exporter"),
        pytest.param({"OTEL_TRACES_EXPORTER": "None"}, False, id="none"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True, id="an endpoint"),
        pytest.param(
            {"OTEL_CONFIG_FILE": "otel.yaml", "OTEL_TRACES_EXPORTER": "none"}, True, id="a file"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_TRACES_EXPORTER": "none"},
            False,
            id="an endpoint for other signals",
        ),
    ],
)
def test_standard_variables_ask_for_traces(
    environ: dict[str, str], tmp_path: Path, *, wants_tracing: bool
) -> None:
    found = read_settings({"TOLLSPAN_HOME": str(tmp_path), **environ}).wants_tracing
    assert found is wants_tracing


def test_the_resource_names_the_service_and_the_environment(tmp_path: Path) -> None:
    environ = {
        "TOLLSPAN_HOME": str(tmp_path),
        "OTEL_RESOURCE_ATTRIBUTES": "service.name=a,deployment.environment.name=prod,x",
    }
    attribution = read_settings(environ).attribution
    assert (attribution.service, attribution.environment) == ("a", "prod")
    named = read_settings({**environ, "OTEL_SERVICE_NAME": "b"}).attribution
    assert named.service == "b"


@pytest.mark.parametrize("signal", ["TRACES", "METRICS", "LOGS"])
@pytest.mark.parametrize(
    ("env", "is_wanted"),
    [
        pytest.param({}, False, id="nothing set"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, True, id="an endpoint of all"),
        pytest.param({"OTEL_EXPORTER_OTLP_{}_ENDPOINT": "http://x"}, True, id="its own endpoint"),
        pytest.param({"OTEL_{}_EXPORTER": "console"}, True, id="its own exporter"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_{}_EXPORTER": "none"},
            False,
            id="an endpoint, and not for it",
        ),
    ],
)
def test_a_signal_is_exported_where_the_standard_settings_ask_for_it(
    tmp_path: Path, signal: str, env: dict[str, str], *, is_wanted: bool
) -> None:
    named = {name.format(signal): value for name, value in env.items()}
    settings = read_settings({"TOLLSPAN_HOME": str(tmp_path), **named})
    wants = {
        "TRACES": settings.wants_tracing,
        "METRICS": settings.wants_metrics,
        "LOGS": settings.wants_logs,
    }
    assert wants[signal] is is_wanted


def test_dimensions_of_metrics_are_those_that_there_are(tmp_path: Path) -> None:
    environ = {"TOLLSPAN_HOME": str(tmp_path), "TOLLSPAN_METRIC_DIMENSIONS": "Customer, feature,"}
    assert read_settings(environ).metric_dimensions == {"customer", "feature"}


def test_every_variable_that_is_read_is_documented() -> None:
    source = "".join(path.read_text() for path in SOURCE.glob("*.py"))
    each = re.compile(r"{signal[^}]*}")
    read = {
        each.sub(signal, name)
        for name in re.findall(r'"(TOLLSPAN_[A-Z_]+|OTEL_[^" ]+)"', source)
        for signal in ("TRACES", "METRICS", "LOGS")
    }
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    spelled_in_another = {
        f"OTEL_EXPORTER_OTLP_{signal}_{what}"
        for signal in ("TRACES", "METRICS", "LOGS")
        for what in ("ENDPOINT", "PROTOCOL")
    }
    assert read - set(names) == spelled_in_another


def test_the_settings_page_is_current() -> None:
    assert settings_page.PAGE.read_text() == settings_page.page()
