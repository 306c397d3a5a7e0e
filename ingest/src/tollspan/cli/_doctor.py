"""`tollspan doctor`: what works, what does not, and the way out."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version

from tollspan.budget import read_rules
from tollspan.launch import read_settings, with_rules
from tollspan.usage import ConfigError

from ._checks import ORDER, Check, Patient, Status
from ._terminal import Cell, Column, Style, Value, print_json, print_line, print_table

_STYLES: dict[str, Style] = {"ok": "good", "warning": "warning", "problem": "bad"}


def doctor(parsed: argparse.Namespace) -> int:
    """Print what was found; exit code 1 when something is a problem."""
    wrong: list[ConfigError] = []
    settings = read_settings(on_wrong=wrong.append)
    if settings.document is not None:
        with contextlib.suppress(ConfigError):  # a check of its own says what is wrong there
            settings = with_rules(settings, read_rules(settings.document))
    patient = Patient(settings=settings, wrong=tuple(wrong), environ=dict(os.environ))
    found = list(_look(patient))
    worst = max((check.status for check in found), key=ORDER.index)
    if parsed.json:
        print_json(
            {
                "status": worst,
                "version": version("tollspan"),
                "python": sys.executable,
                "home": str(settings.home),
                "checks": found,
            }
        )
    else:
        _print(found)
    return int(worst == "problem")


def _look(patient: Patient) -> Iterator[Check]:
    # OpenTelemetry can't be imported while this names what is not installed: a check says so.
    os.environ.pop("OTEL_PROPAGATORS", None)
    from . import (  # noqa: PLC0415
        _checks_authority,
        _checks_books,
        _checks_otel,
        _checks_rules,
        _checks_sdks,
    )

    for part in (_checks_rules, _checks_sdks, _checks_otel, _checks_books, _checks_authority):
        for check in part.CHECKS:
            yield from check(patient)


def _print(found: list[Check]) -> None:
    print_table(
        (Column("status"), Column("check"), Column("finding", is_wide=True)),
        [row for check in found for row in _rows(check)],
    )
    print_line(
        f"{len(found)} checks: ", *(part for status in ORDER for part in _count(found, status))
    )


def _count(found: list[Check], status: Status) -> Iterator[Value]:
    count = sum(check.status == status for check in found)
    if status == "ok":
        yield f"{count} ok"
    elif count:
        yield Cell(f", {count} {status}{'' if count == 1 else 's'}", _STYLES[status])


def _rows(check: Check) -> Iterator[tuple[Value, ...]]:
    yield Cell(check.status, _STYLES[check.status]), check.id, check.text
    if check.fix is not None:
        yield "", "", Cell(f"-> {check.fix}", "quiet")
