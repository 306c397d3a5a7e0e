"""The budget authority over HTTP: each tenant's own accounts and leases, for SDKs of any host."""

from .leases import DESCRIBED, routes
from .standing import Authorities

__all__ = ["DESCRIBED", "Authorities", "routes"]
