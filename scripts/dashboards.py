"""Write Grafana's dashboards anew: `.venv/bin/python scripts/dashboards.py`.

Their files are in `collector-config/grafana/dashboards`; what they show is in `dashboard_*.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import dashboard_calls
import dashboard_pipeline
import dashboard_spend
from environment import ROOT

FOLDER: Final = ROOT / "collector-config/grafana/dashboards"
_BOARDS: Final = (dashboard_spend, dashboard_calls, dashboard_pipeline)


def dashboards() -> dict[Path, str]:
    """Return what is in each file."""
    made: dict[Path, str] = {}
    for one in _BOARDS:
        board = one.dashboard().build()
        for number, panel in enumerate(board.panels or (), start=1):
            panel.id_val = number
        text = JSONEncoder(indent=1, sort_keys=True).encode(board)
        made[FOLDER / f"{board.uid}.json"] = text + "\n"
    return made


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in dashboards().items():
        path.write_text(text, "utf-8")
