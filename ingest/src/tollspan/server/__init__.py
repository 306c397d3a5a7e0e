"""The other end: an ingest server that takes events of many hosts, and keeps the central books."""

from .app import create_app
from .serving import authorities_of, configured, serve
from .settings import DEFAULT_HOST, DEFAULT_PORT, ServerSettings

__all__ = [
    "DEFAULT_HOST",
    "DEFAULT_PORT",
    "ServerSettings",
    "authorities_of",
    "configured",
    "create_app",
    "serve",
]
