"""Touches the providers: wraps their methods, and takes each call through its life."""

from ._call import Lifecycle
from ._decision_log import DecisionLog
from ._decisions import DECISIONS, CallDecision, Decisions
from ._hosts import HostTable
from ._jobs import JobDesk, JobEnd
from ._listeners import LISTENERS, Listeners
from ._metrics import MetricsRecorder, Observer
from ._observables import BudgetState, ShippingState, States, people_unit
from ._run import Extractor, Failure, Run
from ._shapes import Reading, StreamReader
from ._spans import CallSpan, Recorder, SpanEmitter
from ._stainless import ApiPath, Funnel, Sdk, Unsent, read_unsent, sdk_of_method
from ._turn_reading import read_turns
from ._warning_log import AnyWarning, warning_text
from ._worker import Worker

__all__ = [
    "DECISIONS",
    "LISTENERS",
    "AnyWarning",
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
    "JobDesk",
    "JobEnd",
    "Lifecycle",
    "Listeners",
    "MetricsRecorder",
    "Observer",
    "Reading",
    "Recorder",
    "Run",
    "Sdk",
    "ShippingState",
    "SpanEmitter",
    "States",
    "StreamReader",
    "Unsent",
    "Worker",
    "people_unit",
    "read_turns",
    "read_unsent",
    "sdk_of_method",
    "warning_text",
]
