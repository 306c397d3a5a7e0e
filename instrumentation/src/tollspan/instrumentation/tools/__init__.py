"""The program's own tools: priced, budgeted and traced as calls to models are."""

from ._decorator import tool
from ._host import use_lifecycle
from ._reports import report_usage

__all__ = ["report_usage", "tool", "use_lifecycle"]
