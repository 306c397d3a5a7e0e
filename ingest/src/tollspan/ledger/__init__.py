"""Keeps the books: the SQLite ledger of one host, its readers and its repair."""

from ._repair import Rebuilt, rebuild
from ._rescue import rescued_files
from .reading import DIMENSIONS, LedgerReader, OpenHold, ReportRow, Sighting, is_dimension
from .sqlite import LEDGER_FILE, SQLiteLedger

__all__ = [
    "DIMENSIONS",
    "LEDGER_FILE",
    "LedgerReader",
    "OpenHold",
    "Rebuilt",
    "ReportRow",
    "SQLiteLedger",
    "Sighting",
    "is_dimension",
    "rebuild",
    "rescued_files",
]
