"""What the server tells Prometheus of itself: `GET /metrics`.

Names follow OpenTelemetry's conventions, as Prometheus writes them. No label has a value that
clients can make up: no tenant, no model, no address.
"""

from .figures import ServerMetrics, Source
from .routes import routes
from .state import ServerState
from .watching import Watch

__all__ = ["ServerMetrics", "ServerState", "Source", "Watch", "routes"]
