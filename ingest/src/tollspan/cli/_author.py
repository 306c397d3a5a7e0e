"""Who is at the command line, for the record of what is changed."""

from __future__ import annotations

import getpass
import os
import socket


def author() -> str:
    """Say who asks, as the system knows him: `ann@host`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # nobody of that number
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
