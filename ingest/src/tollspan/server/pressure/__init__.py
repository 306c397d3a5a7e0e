"""What keeps the server usable whatever clients do: how often, how much, how many and how slowly.

All of it is this process's own: several replicas have each their bounds.
"""

from .connections import limited_protocol
from .door import ALIVE, Door, DoorFigures
from .files import allow_files

__all__ = ["ALIVE", "Door", "DoorFigures", "allow_files", "limited_protocol"]
