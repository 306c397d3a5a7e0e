"""The gates of tenants: they decide on calls, and name the accounts in which calls count.

They are those of the SDKs; here is only whose is which.
"""

from __future__ import annotations

from .of_tenants import TenantGate, TenantGates
from .warning import CallWarner

__all__ = ["CallWarner", "TenantGate", "TenantGates"]
