"""Finds out who else makes the spans of one API path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from operator import is_not
from types import MappingProxyType
from typing import Any, cast

from tollspan.instrumentation._foreign import METRIC_FAMILIES, has_foreign_layer

from ._sdk import ApiPath, Sdk

_Members = MappingProxyType[str, object]
# Looks a member up without a step of ours; pyright does not know the parameters of the bare class.
_member: Callable[[_Members, str], object] = cast("Any", MappingProxyType).get


class PathOthers:
    """Looks at the layers around the functions of one path, and remembers the answer.

    The answer is kept while the functions in the classes are the same objects.
    """

    def __init__(self, sdk: Sdk, path: ApiPath) -> None:
        self._has_native_span = sdk.has_native_span
        self._owners = path.owners
        self._clients = tuple((sdk.package, name, "request") for name in sdk.clients)
        self._classes: tuple[_Members, ...] = ()
        self._names: tuple[str, ...] = ()
        self._has_all = False
        self._seen: tuple[object, ...] = ()
        self._makes_spans = False
        self._records_metrics = False

    def make_spans(self, asked: Any) -> bool:
        """Say whether another instrumentor, or the SDK itself, makes the span of this call."""
        if not self._has_all:
            self._find()
        functions = tuple(map(_member, self._classes, self._names))
        # Identity: a wrapt wrapper equals what it wraps.
        if len(functions) != len(self._seen) or any(map(is_not, functions, self._seen)):
            self._makes_spans = any(map(has_foreign_layer, functions))
            self._records_metrics = any(
                has_foreign_layer(function, METRIC_FAMILIES) for function in functions
            )
            self._seen = functions
        if self._makes_spans or self._has_native_span is None:
            return self._makes_spans
        return self._has_native_span(asked.client)

    def record_metrics(self) -> bool:
        """Say whether it records the conventions' metrics too; asked after `make_spans`."""
        return self._records_metrics

    def _find(self) -> None:
        """Find the classes; the SDK imports some of its modules when they are first used."""
        found: list[tuple[_Members, str]] = []
        self._has_all = True
        for module, name, method in (*self._owners, *self._clients):
            imported = sys.modules.get(module)
            owner = getattr(imported, name, None)
            if owner is not None:
                found.append((owner.__dict__, method))
            self._has_all &= imported is not None
        self._classes = tuple([members for members, _ in found])
        self._names = tuple([name for _, name in found])
