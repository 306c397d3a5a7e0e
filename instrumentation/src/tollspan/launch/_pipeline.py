"""What existing pipelines name: a span processor and a span exporter without arguments."""

from __future__ import annotations

from tollspan.exporter import UsageEventExporter as Exporter
from tollspan.processor import BudgetSpanProcessor as Processor

from ._foreign import door_in_force
from ._install import books_in_force


class BudgetSpanProcessor(Processor):
    """Asks the gate for calls that only other people's spans tell of, and accounts for them.

    tollspan puts one into every tracer provider by itself. Add it by hand only to a provider that
    was made before tollspan was installed: `provider.add_span_processor(BudgetSpanProcessor())`.
    """

    def __init__(self) -> None:
        super().__init__(door_in_force)


class UsageEventExporter(Exporter):
    """Keeps finished spans of others as usage events: `OTEL_TRACES_EXPORTER=otlp,tollspan`."""

    def __init__(self) -> None:
        super().__init__(books_in_force)
