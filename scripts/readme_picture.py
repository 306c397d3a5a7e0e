"""Put a run of the demo into README.md: `make demo | python3 scripts/readme_picture.py`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

README = Path(__file__).resolve().parent.parent / "README.md"
PICTURE = re.compile(r"(?<=<!-- demo -->\n```text\n).*?(?=\n```\n<!-- /demo -->)", re.DOTALL)
MOST_LINES = 70
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def refresh(readme: str, output: str) -> str:
    """Return the README's text with the demo's output in its place, without colours.

    Raises:
        ValueError: The place is not there, or the output would end it early or is too long to read.
    """
    lines = COLOUR.sub("", output).rstrip().splitlines()
    if not lines:
        raise ValueError("the demo printed nothing: pipe its output in here")
    if any(line.startswith("```") for line in lines):
        raise ValueError("the demo's output holds a code fence")
    if len(lines) > MOST_LINES:
        raise ValueError(f"the demo's output has {len(lines)} lines, more than {MOST_LINES}")
    picture = "\n".join(line.rstrip() for line in lines)
    refreshed, places = PICTURE.subn(lambda _: picture, readme)
    if places != 1:
        raise ValueError(f"README.md has {places} places for the demo, not 1")
    return refreshed


if __name__ == "__main__":
    README.write_text(refresh(README.read_text(), sys.stdin.read()))
