"""Webhooks: `/v1/webhooks`, and the threads that send what waits."""

from __future__ import annotations

from .routes import routes
from .sending import SenderFigures, WebhookSender

__all__ = ["SenderFigures", "WebhookSender", "routes"]
