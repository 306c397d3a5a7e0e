"""The compose file and Grafana's provisioning: nothing runs here, all of it is looked at."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from environment import ROOT
from tollspan.cli import make_parser

FOLDER = ROOT / "collector-config"
TEXT = (FOLDER / "compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# Of the Compose Specification, what is used here; a word that is misspelt is none of them.
TOP = {"name", "services", "volumes", "secrets"}
WORDS = {
    *("image", "build", "command", "user", "environment", "volumes", "secrets", "ports"),
    *("healthcheck", "depends_on", "restart"),
}
HEALTH = {"test", "interval", "timeout", "retries"}
PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+(\.\d+)?(-[a-z]+)?$")
# Where services listen that Prometheus looks at; the ports are the configurations' own.
LISTENING = {"collector:9464", "collector:8888", "ingest:4790"}
ALL = pytest.mark.parametrize("name", SERVICES)


def variables() -> dict[str, str]:
    """Return what `compose.env` sets."""
    lines = (FOLDER / "compose.env").read_text("utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def mounts(name: str) -> Iterator[tuple[str, str]]:
    """Yield what is mounted into a service, and where."""
    for mount in SERVICES[name].get("volumes", ()):
        source, target, *mode = mount.split(":")
        assert mode in ([], ["ro"])
        yield source, target


def inside(name: str, path: str) -> Path:
    """Return the file of ours that a service sees at a path."""
    for source, target in mounts(name):
        if source.startswith("./") and Path(path).is_relative_to(target):
            return FOLDER / source / Path(path).relative_to(target)
    raise AssertionError(f"{name} has no {path}")


def needed(path: Path) -> set[str]:
    """Return the variables without a default that a Collector's configuration asks for."""
    said = "".join(
        line for line in path.read_text("utf-8").splitlines() if not line.lstrip().startswith("#")
    )
    return set(re.findall(r"\$\{env:(\w+)\}", said))


def test_no_word_is_misspelt() -> None:
    assert set(COMPOSE) == TOP
    for service in SERVICES.values():
        assert set(service) <= WORDS
        assert set(service.get("healthcheck", {})) <= HEALTH
        assert set(service.get("build", {})) <= {"context", "dockerfile_inline"}
        assert service["restart"] == "unless-stopped"


@ALL
def test_every_image_is_of_one_version(name: str) -> None:
    service = SERVICES[name]
    image = service.get("image")
    if image is None:
        (image,) = re.findall("^FROM (.*)$", service["build"]["dockerfile_inline"], re.MULTILINE)
        assert (FOLDER / service["build"]["context"]).resolve() == ROOT
    assert PINNED.match(image), image


@ALL
def test_what_is_mounted_is_there(name: str) -> None:
    for source, target in mounts(name):
        assert target.startswith("/")
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
    for secret in SERVICES[name].get("secrets", ()):
        assert COMPOSE["secrets"][secret["source"]]["environment"] in variables()
    kept = {source for each in SERVICES for source, _ in mounts(each) if source[0] != "."}
    assert kept == set(COMPOSE["volumes"])


def test_every_variable_is_set_and_every_one_that_is_set_is_used() -> None:
    said = re.sub(r"\$\$\w+", "", TEXT)
    used = {*re.findall(r"\$\{(\w+)\}", said), *re.findall(r"environment: ([A-Z_]+)\}", said)}
    assert "$" not in re.sub(r"\$\{\w+\}", "", said)
    assert used == set(variables())


@ALL
def test_ports_are_of_this_machine_alone_and_others_are_waited_for(name: str) -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(set(ports)) == len(ports)
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:(\d+):\1", port)
    for other in SERVICES[name].get("depends_on", ()):
        assert other in SERVICES
        waited_for = SERVICES[name]["depends_on"]
        if isinstance(waited_for, dict):
            assert waited_for[other] == {"condition": "service_healthy"}
            assert "healthcheck" in SERVICES[other]


def test_the_collector_has_its_configurations_and_all_that_they_ask_for() -> None:
    words = SERVICES["collector"]["command"]
    assert words[::2] == ["--config"] * 3
    files = [inside("collector", path) for path in words[1::2]]
    assert [path.name for path in files] == ["calls.yaml", "agent.yaml", "metrics.yaml"]
    said = SERVICES["collector"]["environment"]
    assert set().union(*map(needed, files)) <= set(said)
    folder = Path(said["QUEUE_FOLDER"])
    assert any(folder.is_relative_to(target) for _, target in mounts("collector"))
    builder = (FOLDER / "builder.yaml").read_text("utf-8")
    assert SERVICES["collector"]["image"].rpartition(":")[2] in builder


def test_jaeger_and_prometheus_have_their_configurations() -> None:
    assert inside("jaeger", SERVICES["jaeger"]["command"][1]) == FOLDER / "jaeger.yaml"
    file = SERVICES["prometheus"]["command"][0].removeprefix("--config.file=")
    configuration = yaml.safe_load(inside("prometheus", file).read_text("utf-8"))
    beside = Path(file).parent
    for rules in configuration["rule_files"]:
        assert inside("prometheus", str(beside / rules)).is_file()
    (secret,) = SERVICES["prometheus"]["secrets"]
    for job in configuration["scrape_configs"]:
        if "authorization" in job:
            assert str(beside / job["authorization"]["credentials_file"]) == secret["target"]
        for place in job["file_sd_configs"]:
            for targets in place["files"]:
                told = yaml.safe_load(inside("prometheus", str(beside / targets)).read_text())
                for target in told[0]["targets"]:
                    assert target in LISTENING


def test_the_server_is_started_with_words_that_it_knows() -> None:
    shell, flag, line = SERVICES["ingest"]["command"]
    assert (shell, flag) == ("sh", "-c")
    execute, program, *words = shlex.split(line.replace("$$", "$"))
    assert (execute, program) == ("exec", "tollspan")
    parsed = make_parser().parse_args(words)
    assert (parsed.host, parsed.db) == ("0.0.0.0", "$DATABASE")
    assert "DATABASE" in SERVICES["ingest"]["environment"]


def test_grafana_finds_its_sources_and_the_dashboards() -> None:
    provisioning = "/etc/grafana/provisioning"
    place = inside("grafana", f"{provisioning}/datasources/tollspan.yaml")
    sources = yaml.safe_load(place.read_text("utf-8"))["datasources"]
    assert [source["isDefault"] for source in sources if "isDefault" in source] == [True]
    ports = {"prometheus": 9090, "jaeger": 16686}
    assert {source["uid"]: source["url"] for source in sources} == {
        name: f"http://{name}:{port}" for name, port in ports.items()
    }
    for source in sources:
        for one in source.get("jsonData", {}).get("exemplarTraceIdDestinations", ()):
            assert one["datasourceUid"] in ports
    interval = yaml.safe_load((FOLDER / "prometheus/prometheus.yaml").read_text("utf-8"))["global"]
    assert sources[0]["jsonData"]["timeInterval"] == interval["scrape_interval"]
    place = inside("grafana", f"{provisioning}/dashboards/tollspan.yaml")
    (provider,) = yaml.safe_load(place.read_text("utf-8"))["providers"]
    assert len(list(inside("grafana", provider["options"]["path"]).glob("*.json"))) == 3
