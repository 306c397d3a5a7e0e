"""The `tollspan` command: runs programs, and shows what they spent."""

from ._main import main

__all__ = ["main"]
