"""Write docs/reference/schemas from the code: `.venv/bin/python scripts/schemas.py`."""

from __future__ import annotations

import json
from pathlib import Path

from tollspan.cli import config_schema, event_schema

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference" / "schemas"


def files() -> dict[Path, str]:
    """Return each file's path and text."""
    schemas = {"config": config_schema(), "event": event_schema()}
    return {
        FOLDER / f"{name}.v1.schema.json": f"{json.dumps(schema, indent=2, ensure_ascii=False)}\n"
        for name, schema in schemas.items()
    }


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in files().items():
        path.write_text(text)
