"""OpenAI: which methods are wrapped, and the hooks at the SDK's request funnel.

`Completions.create` and its async twin are the narrowest public methods: everything that makes a
chat completion with them, `with_raw_response` and the `stream()` helper too, goes through there.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Awaitable, Callable, Mapping
from operator import is_not
from typing import Any, Protocol

import wrapt

from tollspan import semconv
from tollspan.attribution import current_call
from tollspan.instrumentation._call import Lifecycle
from tollspan.instrumentation._foreign import METRIC_FAMILIES, has_foreign_layer
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._spans import mark_inner_span
from tollspan.instrumentation._stream import AsyncStreamProxy, SyncStreamProxy, proxies
from tollspan.safety import Guard

from ._paths import billable_path

__all__ = ["WRAPPED", "OpenAIPatches"]

OWN_HOSTS = {"api.openai.com": semconv.PROVIDER_OPENAI}
_PACKAGE = "openai"
_CHAT = "openai.resources.chat.completions.completions"
_FUNNEL = "openai._base_client"

# Called between two attempts: the newer name first, then that of versions before 1.67.
_RETRIES = ("_sleep_for_retry", "_retry_request")

WRAPPED: tuple[tuple[str, str, str], ...] = (
    (_CHAT, "Completions", "create"),
    (_CHAT, "AsyncCompletions", "create"),
    (_FUNNEL, "SyncAPIClient", "request"),
    (_FUNNEL, "AsyncAPIClient", "request"),
    (_FUNNEL, "SyncAPIClient", "_sleep_for_retry"),
    (_FUNNEL, "AsyncAPIClient", "_sleep_for_retry"),
)
"""Module, class and method of everything that is wrapped."""


class Sightings(Protocol):
    """Where a billable request without a call of ours is counted."""

    def __call__(self, kind: str, name: str) -> None:
        """Count it; must not block."""
        ...


class OpenAIPatches:
    """Wraps the SDK's methods when their modules are imported, and takes the wrappers off again."""

    def __init__(self, lifecycle: Lifecycle, sightings: Sightings) -> None:
        self.hosts = HostTable(semconv.PROVIDER_OPENAI, OWN_HOSTS)
        self._lifecycle = lifecycle
        self._sightings = sightings
        self._guard = Guard("openai.funnel")
        self._is_active = False
        self._is_hooked = False
        self._is_package_in = False
        self._patched: set[str] = set()
        # The members of the classes whose methods another instrumentor would wrap.
        self._members: tuple[Mapping[str, object], ...] = ({}, {}, {}, {})
        self._foreign: tuple[tuple[object, ...], bool] = ((), False)
        self._has_foreign_metrics = False
        self._undo: list[tuple[type, str, object, object]] = []
        self._last_stray: Callable[[], object] = object

    def apply(self) -> None:
        """Wrap what is imported already, and the rest as it is imported."""
        self._is_active = True
        if not self._is_hooked:
            self._is_hooked = True
            for name in (_PACKAGE, _CHAT, _FUNNEL):
                wrapt.register_post_import_hook(self._patch_what_is_there, name)
        else:
            self._patch_what_is_there(sys.modules.get(_PACKAGE))

    def remove(self) -> None:
        """Put the very same functions back; where somebody wrapped over ours, pass through."""
        self._is_active = False
        for owner, name, original, ours in self._undo:
            if owner.__dict__.get(name) is ours:
                setattr(owner, name, original)
        self._undo = []
        self._patched = set()

    def has_foreign_span(self) -> bool:
        """Say whether another instrumentor makes the spans of chat completions.

        The answer is kept while the functions in the classes are the same objects.
        """
        chat, async_chat, client, async_client = self._members
        functions = (
            chat.get("create"),
            async_chat.get("create"),
            client.get("request"),
            async_client.get("request"),
        )
        seen, answer = self._foreign
        # Identity: a wrapt wrapper equals what it wraps.
        if len(seen) != 4 or any(map(is_not, functions, seen)):
            answer = any(has_foreign_layer(function) for function in functions)
            self._has_foreign_metrics = any(
                has_foreign_layer(function, METRIC_FAMILIES) for function in functions
            )
            self._foreign = (functions, answer)
        return answer

    def has_foreign_metrics(self) -> bool:
        """Say whether it records the conventions' metrics too; asked after `has_foreign_span`."""
        return self._has_foreign_metrics

    def _patch_what_is_there(self, module: Any) -> None:
        """Wrap each module once, when it and the whole package are imported.

        Older versions import every resource while the package itself is half way in: then the
        package's own hook does it.
        """
        self._is_package_in |= module is not None and module.__name__ == _PACKAGE
        if not self._is_package_in or not self._is_active:
            return
        for name, patch in ((_CHAT, self._patch_chat), (_FUNNEL, self._patch_funnel)):
            found = sys.modules.get(name)
            if found is not None and name not in self._patched:
                self._patched.add(name)
                with Guard("openai.patch"):
                    patch(found)

    def _patch_chat(self, module: Any) -> None:
        from .extract import ChatExtractor  # noqa: PLC0415 - imports the SDK, which is there now

        extractor = ChatExtractor(self.hosts)
        lifecycle = self._lifecycle
        make_sync = proxies(lifecycle, SyncStreamProxy)
        make_async = proxies(lifecycle, AsyncStreamProxy)

        def create(
            wrapped: Callable[..., object],
            instance: object,
            args: tuple[object, ...],
            kwargs: dict[str, object],
        ) -> object:
            if not self._is_active:
                return wrapped(*args, **kwargs)
            return lifecycle.call(extractor, make_sync, wrapped, instance, args, kwargs)

        async def create_async(
            wrapped: Callable[..., Awaitable[object]],
            instance: object,
            args: tuple[object, ...],
            kwargs: dict[str, object],
        ) -> object:
            if not self._is_active:
                return await wrapped(*args, **kwargs)
            return await lifecycle.call_async(
                extractor, make_async, wrapped, instance, args, kwargs
            )

        self._wrap(module.Completions, "create", create)
        self._wrap(module.AsyncCompletions, "create", create_async)
        package = sys.modules[_PACKAGE]
        self._members = (
            module.Completions.__dict__,
            module.AsyncCompletions.__dict__,
            package.OpenAI.__dict__,
            package.AsyncOpenAI.__dict__,
        )

    def _patch_funnel(self, module: Any) -> None:
        for name in ("SyncAPIClient", "AsyncAPIClient"):
            owner = getattr(module, name)
            self._wrap(owner, "request", self._see_request)
            for retry in _RETRIES:
                if retry in owner.__dict__:
                    self._wrap(owner, retry, self._see_retry)
                    break
            else:
                self._sightings("unwrapped", f"openai.{name}._sleep_for_retry")
        package = sys.modules[_PACKAGE]
        for name in ("OpenAI", "AsyncOpenAI"):
            # OpenInference overrides the method in these classes, over the one that it found.
            owner = getattr(package, name)
            if "request" in owner.__dict__:
                self._wrap(owner, "request", self._see_request)

    def _wrap(self, owner: type, name: str, wrapper: Callable[..., object]) -> None:
        original = owner.__dict__[name]
        ours = wrapt.FunctionWrapper(original, wrapper)
        setattr(owner, name, ours)
        self._undo.append((owner, name, original, ours))

    def _see_request(
        self,
        wrapped: Callable[..., object],
        instance: object,  # noqa: ARG002 - wrapt's
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Mark the call as sent; a billable request that carries no call is a way past the gate."""
        flight = current_call.get()
        if flight is not None and flight.is_on_its_way and not flight.is_sent:
            flight.is_sent = True
            if self._foreign[1]:
                with self._guard:
                    mark_inner_span()
        elif self._is_active and (flight is None or not flight.is_on_its_way):
            with self._guard:
                self._see_stray(kwargs.get("options") or (args[1] if len(args) > 1 else None))
        return wrapped(*args, **kwargs)

    def _see_stray(self, options: object) -> None:
        """Count a request once, also where it passes a second `request` on its way down."""
        if self._last_stray() is options:
            return
        if options is not None:
            self._last_stray = weakref.ref(options)
        path = billable_path(
            str(getattr(options, "method", "post")), str(getattr(options, "url", ""))
        )
        if path is not None:
            self._sightings("past_the_gate", f"openai POST {path}")

    def _see_retry(
        self,
        wrapped: Callable[..., object],
        instance: object,  # noqa: ARG002 - wrapt's
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        """Count the SDK's own retry, and whether the attempt before it may have been billed."""
        with self._guard:
            flight = current_call.get()
            if flight is not None:
                from ._failures import retry_was_maybe_billed  # noqa: PLC0415 - imports the SDK

                flight.retries += 1
                error = sys.exc_info()[1]
                response = kwargs.get("response") or getattr(error, "response", None)
                if retry_was_maybe_billed(response, error):
                    flight.maybe_billed += 1
        return wrapped(*args, **kwargs)
