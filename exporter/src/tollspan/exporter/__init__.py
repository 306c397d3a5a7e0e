"""Turns spans into priced usage events. OpenTelemetry's SDK is loaded when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ._addresses import copy_of, destination_of, rules_of, shown
from ._books import Books

if TYPE_CHECKING:
    from ._authority import HttpAuthority, authority_at
    from ._fetching import Fetched, RuleFetcher
    from ._forwarding import Forwarder
    from ._heeding import Heeder
    from ._server_audit import AuditEntryAtServer, ServerAudit
    from ._server_door import ServerDoor, ServerRefusedError
    from ._server_rules import RulesAtServer, RulesVersionAtServer, ServerRules
    from ._server_webhooks import DeliveryAtServer, ServerWebhooks, WebhookAtServer
    from ._settling import SettlingBooks
    from ._shipping import Shipper, ShippingFigures, ShippingStatus
    from ._spans import UsageEventExporter

__all__ = [
    "AuditEntryAtServer",
    "Books",
    "DeliveryAtServer",
    "Fetched",
    "Forwarder",
    "Heeder",
    "HttpAuthority",
    "RuleFetcher",
    "RulesAtServer",
    "RulesVersionAtServer",
    "ServerAudit",
    "ServerDoor",
    "ServerRefusedError",
    "ServerRules",
    "ServerWebhooks",
    "SettlingBooks",
    "Shipper",
    "ShippingFigures",
    "ShippingStatus",
    "UsageEventExporter",
    "WebhookAtServer",
    "authority_at",
    "copy_of",
    "destination_of",
    "rules_of",
    "shown",
]
_MODULES = {
    "AuditEntryAtServer": "_server_audit",
    "DeliveryAtServer": "_server_webhooks",
    "Fetched": "_fetching",
    "Forwarder": "_forwarding",
    "Heeder": "_heeding",
    "HttpAuthority": "_authority",
    "RuleFetcher": "_fetching",
    "RulesAtServer": "_server_rules",
    "RulesVersionAtServer": "_server_rules",
    "ServerAudit": "_server_audit",
    "ServerDoor": "_server_door",
    "ServerRefusedError": "_server_door",
    "ServerRules": "_server_rules",
    "ServerWebhooks": "_server_webhooks",
    "SettlingBooks": "_settling",
    "Shipper": "_shipping",
    "ShippingFigures": "_shipping",
    "ShippingStatus": "_shipping",
    "UsageEventExporter": "_spans",
    "WebhookAtServer": "_server_webhooks",
    "authority_at": "_authority",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
