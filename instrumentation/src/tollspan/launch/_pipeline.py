"""What existing pipelines name: a span processor and a span exporter without arguments."""

from __future__ import annotations

from tollspan import exporter, processor

from ._foreign import door_in_force
from ._install import books_in_force


class BudgetSpanProcessor(processor.BudgetSpanProcessor):
    """Asks the gate for calls that only other people's spans tell of, and accounts for them.

    tollspan puts one into every tracer provider by itself. Add it by hand only to a provider that
    was made before tollspan was installed: `provider.add_span_processor(BudgetSpanProcessor())`.
    """

    def __init__(self) -> None:
        super().__init__(door_in_force)


class UsageEventExporter(exporter.UsageEventExporter):
    """Keeps finished spans of others as usage events: `OTEL_TRACES_EXPORTER=otlp,tollspan`."""

    def __init__(self) -> None:
        super().__init__(books_in_force)
