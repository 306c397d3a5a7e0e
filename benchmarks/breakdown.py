"""Where tollspan's bytecodes go: by part of a call, for the shapes that matter."""

from __future__ import annotations

from benchmarks import overhead
from benchmarks.overhead import FamilyResult

FAMILY = "tollspan_all_5"
SHAPES = ("sync", "async", "stream_asked", "stream", "tools_10", "memo_miss")


def measure(family: str = FAMILY) -> FamilyResult:
    """Count the parts anew."""
    return overhead.measure(family, SHAPES, cpu=False)


def table(found: FamilyResult) -> str:
    """Write the parts as Markdown, in the order of a call's life."""
    shapes = [shape for shape in SHAPES if shape in found.shapes]
    parts = list(dict.fromkeys(part for shape in shapes for part in found.shapes[shape].parts))
    lines = [
        "| part | " + " | ".join(shapes) + " |",
        "|---|" + "---:|" * len(shapes),
    ]
    for part in parts:
        row = [f"{found.shapes[shape].parts.get(part, 0):,}" for shape in shapes]
        lines.append(f"| {part} | " + " | ".join(row) + " |")
    sums = [f"**{found.shapes[shape].bytecodes:,}**" for shape in shapes]
    lines.append("| **sum** | " + " | ".join(sums) + " |")
    return "\n".join(lines)
