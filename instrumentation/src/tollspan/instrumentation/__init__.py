"""Touches the providers: wraps their methods, and takes each call through its life."""

from ._call import Extractor, Failure, Lifecycle, Reading, Run, StreamReader
from ._hosts import HostTable
from ._metrics import MetricsRecorder
from ._spans import CallSpan, Recorder, SpanEmitter
from ._worker import Worker

__all__ = [
    "CallSpan",
    "Extractor",
    "Failure",
    "HostTable",
    "Lifecycle",
    "MetricsRecorder",
    "Reading",
    "Recorder",
    "Run",
    "SpanEmitter",
    "StreamReader",
    "Worker",
]
