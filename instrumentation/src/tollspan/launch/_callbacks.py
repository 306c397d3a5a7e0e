"""Where a program says what it wants to hear of calls, refusals and warnings."""

from __future__ import annotations

from tollspan.instrumentation import LISTENERS

on_usage = LISTENERS.on_usage
on_deny = LISTENERS.on_deny
on_warn = LISTENERS.on_warn
remove_callback = LISTENERS.remove
