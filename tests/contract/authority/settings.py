"""What each kit's authority goes by."""

from __future__ import annotations

from typing import Final

from tollspan.budget import LeaseSettings

SETTINGS: Final = LeaseSettings(life_seconds=30.0, horizon_seconds=3_600.0)
FOREVER: Final = 36 * 86_400.0
"""Longer than anything that ended is remembered, after the horizon."""
