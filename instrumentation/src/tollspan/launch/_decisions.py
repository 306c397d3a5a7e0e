"""Where a program asks what was decided of its calls. Importing this has it kept from then on."""

from __future__ import annotations

from tollspan.instrumentation import DECISIONS, CallDecision

__all__ = ["CallDecision", "decision_of"]

DECISIONS.want()
decision_of = DECISIONS.decision_of
