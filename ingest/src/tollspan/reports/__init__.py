"""What is made of usage events for others: FOCUS rows, reconciliation with bills, meter events.

Pure functions of events and prices; no network, no database.
"""

from .columns import COLUMNS, FocusRow
from .exports import PROVIDERS, BilledLine, ExportFormat, read_export
from .focus import FocusCosts, FocusPart, FocusSettings, Grain, costs_of, focus_rows, focus_rows_of
from .kept_costs import KeptPart, kept_parts, read_kept
from .meters import (
    MOST_IN_LAGO_BATCH,
    lago_batch,
    lago_event,
    openmeter_event,
    openmeter_token_events,
    stripe_event,
)
from .model_keys import model_key
from .parts import Part, PartBasis, parts_of
from .reconciling import CountedSum, Difference, reconcile
from .writing import write_csv, write_parquet

__all__ = [
    "COLUMNS",
    "MOST_IN_LAGO_BATCH",
    "PROVIDERS",
    "BilledLine",
    "CountedSum",
    "Difference",
    "ExportFormat",
    "FocusCosts",
    "FocusPart",
    "FocusRow",
    "FocusSettings",
    "Grain",
    "KeptPart",
    "Part",
    "PartBasis",
    "costs_of",
    "focus_rows",
    "focus_rows_of",
    "kept_parts",
    "lago_batch",
    "lago_event",
    "model_key",
    "openmeter_event",
    "openmeter_token_events",
    "parts_of",
    "read_export",
    "read_kept",
    "reconcile",
    "stripe_event",
    "write_csv",
    "write_parquet",
]
