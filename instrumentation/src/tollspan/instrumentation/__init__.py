"""Touches the providers: wraps their methods, and takes each call through its life."""

from ._call import Lifecycle
from ._decision_log import DecisionLog
from ._decisions import DECISIONS, CallDecision, Decisions
from ._hosts import HostTable
from ._listeners import LISTENERS, Listeners
from ._metrics import BudgetState, MetricsRecorder, Observer, States
from ._run import Extractor, Failure, Run
from ._shapes import Reading, StreamReader
from ._spans import CallSpan, Recorder, SpanEmitter
from ._stainless import ApiPath, Funnel, Sdk, Unsent, read_unsent, sdk_of_method
from ._turn_reading import read_turns
from ._worker import Worker

__all__ = [
    "DECISIONS",
    "LISTENERS",
    "ApiPath",
    "BudgetState",
    "CallDecision",
    "CallSpan",
    "DecisionLog",
    "Decisions",
    "Extractor",
    "Failure",
    "Funnel",
    "HostTable",
    "Lifecycle",
    "Listeners",
    "MetricsRecorder",
    "Observer",
    "Reading",
    "Recorder",
    "Run",
    "Sdk",
    "SpanEmitter",
    "States",
    "StreamReader",
    "Unsent",
    "Worker",
    "read_turns",
    "read_unsent",
    "sdk_of_method",
]
