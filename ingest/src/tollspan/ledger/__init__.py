"""Keeps the books: the SQLite ledger of one host, its readers and its repair."""

from ._home import NETWORK_FILE_SYSTEMS, file_system
from ._outbox import DeadLetter, Outbox, Shipment, Waits
from ._owner import alone
from ._repair import Rebuilt, rebuild
from ._rescue import rescued_files
from ._room import FOLDED_UNSENT, Room
from ._waiting import Waiting
from .authorities import name_of, open_authority
from .file_notes import FileNotes
from .inspecting import ServedAuthority, ServerReport, ServerRisk
from .postgres import PostgresAuthority
from .reading import (
    DIMENSIONS,
    POSTING_REFUSED,
    POSTINGS_TOLD,
    LedgerReader,
    OpenHold,
    ReportRow,
    Sighting,
    is_dimension,
)
from .redis import RedisAuthority
from .shared_sqlite import SharedFile, SQLiteAuthority
from .sqlite import LEDGER_FILE, SQLiteLedger
from .tailing import EventTail
from .tenancy import TenantAuthorities
from .whole_files import replace_file

__all__ = [
    "DIMENSIONS",
    "FOLDED_UNSENT",
    "LEDGER_FILE",
    "NETWORK_FILE_SYSTEMS",
    "POSTINGS_TOLD",
    "POSTING_REFUSED",
    "DeadLetter",
    "EventTail",
    "FileNotes",
    "LedgerReader",
    "OpenHold",
    "Outbox",
    "PostgresAuthority",
    "Rebuilt",
    "RedisAuthority",
    "ReportRow",
    "Room",
    "SQLiteAuthority",
    "SQLiteLedger",
    "ServedAuthority",
    "ServerReport",
    "ServerRisk",
    "SharedFile",
    "Shipment",
    "Sighting",
    "TenantAuthorities",
    "Waiting",
    "Waits",
    "alone",
    "file_system",
    "is_dimension",
    "name_of",
    "open_authority",
    "rebuild",
    "replace_file",
    "rescued_files",
]
