"""A real Prometheus with the project's configuration, on loopback."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tests.collector.running import CONFIGURATIONS, Process
from tests.services import program


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One time series of an answer, and its value."""

    labels: Mapping[str, str]
    value: float


class Prometheus(Process):
    """Prometheus, with its data in its folder.

    Args:
        folder: Its data and its configuration: the project's, but for the targets and the pace.
        key: What it asks the ingest server's figures with.
        every: How often it looks, and evaluates rules, in Prometheus's words.
        targets: `host:port` of each of the jobs: `programs`, `collectors`, `ingest`.
    """

    def __init__(
        self, folder: Path, *, key: str = "none", every: str = "1s", **targets: tuple[str, ...]
    ) -> None:
        super().__init__(folder, {})
        shutil.copytree(CONFIGURATIONS / "prometheus", folder, dirs_exist_ok=True)
        here = folder / "prometheus.yaml"
        said = here.read_text("utf-8")
        assert said.count("_interval: 15s") == 2
        here.write_text(said.replace("_interval: 15s", f"_interval: {every}"), "utf-8")
        for path in (folder / "targets").iterdir():
            path.write_text(json.dumps([{"targets": list(targets.pop(path.stem, ()))}]), "utf-8")
        assert not targets, "no such job"
        (folder / "tollspan.key").write_text(key, "utf-8")

    def words(self) -> list[str]:
        return [
            *(program("Prometheus"), "--config.file=prometheus.yaml", "--storage.tsdb.path=data"),
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--enable-feature=exemplar-storage",
        ]

    @property
    def health(self) -> str:
        return f"{self.url}/-/ready"

    def query(self, expression: str) -> list[Sample]:
        """Return what an expression says now: a vector, or a number as one without labels."""
        data = self._asked("query", {"query": expression})
        if data["resultType"] == "scalar":
            return [Sample(labels={}, value=float(data["result"][1]))]
        return [
            Sample(labels=row["metric"], value=float(row["value"][1])) for row in data["result"]
        ]

    def alerts(self) -> list[dict[str, Any]]:
        """Return what fires, or will if it goes on."""
        found: list[dict[str, Any]] = self._asked("alerts", {})["alerts"]
        return found

    def traces(self, series: str) -> set[str]:
        """Return the ids of traces that exemplars of a series name."""
        said = {"query": series, "start": "0", "end": str(time.time() + 60)}
        answer = requests.get(f"{self.url}/api/v1/query_exemplars", params=said, timeout=30)
        assert answer.status_code == 200, answer.text
        return {
            exemplar["labels"]["trace_id"]
            for found in answer.json()["data"]
            for exemplar in found["exemplars"]
        }

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules, with how their last evaluation went."""
        groups = self._asked("rules", {})["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _asked(self, what: str, said: Mapping[str, str]) -> dict[str, Any]:
        answer = requests.get(f"{self.url}/api/v1/{what}", params=said, timeout=30)
        assert answer.status_code == 200, f"{said}\n{answer.text}"
        data: dict[str, Any] = answer.json()["data"]
        return data

    def value(self, expression: str) -> float | None:
        """Return the one value of an expression; None where there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0].value if found else None
