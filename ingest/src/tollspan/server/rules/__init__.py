"""The tenants' rules: which are in force, and how they are shown, put and rolled back."""

from .in_force import NO_RULES, RulesInForce, TenantRules
from .routes import routes

__all__ = ["NO_RULES", "RulesInForce", "TenantRules", "routes"]
