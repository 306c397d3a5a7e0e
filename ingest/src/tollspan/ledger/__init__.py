"""Keeps the books: the SQLite ledger of one host, its readers and its repair."""

from ._repair import Rebuilt, rebuild
from ._rescue import rescued_files
from ._waiting import Waiting
from .reading import DIMENSIONS, LedgerReader, OpenHold, ReportRow, Sighting
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
    "Waiting",
    "rebuild",
    "rescued_files",
]
