"""The hooks at an SDK's request funnel: the gate, its tripwire, and the count of retries."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import urlsplit

import wrapt
from opentelemetry.context import attach, detach, get_current

from tollspan.attribution import BAGGAGE, current_call, outbound
from tollspan.instrumentation._call import Lifecycle
from tollspan.instrumentation._hosts import HostTable
from tollspan.instrumentation._run import Run
from tollspan.instrumentation._shapes import Attached, StreamReader
from tollspan.instrumentation._spans import mark_inner_span
from tollspan.instrumentation._stream import AsyncStreamProxy, SyncStreamProxy, Watch
from tollspan.safety import Guard

from ._asked import Asked
from ._batch_door import BatchDoor
from ._extractor import PathExtractor
from ._failures import retry_was_maybe_billed
from ._file_sight import FileSight
from ._job_extractor import JobExtractor
from ._sdk import ApiPath, Sdk, Sightings
from ._seeing import JobSight

# Called between two attempts: the newer name first, then that of openai before 1.67.
_RETRIES = ("_sleep_for_retry", "_retry_request")
_FUNNELS = (("SyncAPIClient", "_request"), ("AsyncAPIClient", "_request_async"))
_MOST_PATHS = 1024
_POST = frozenset({"post", "POST", "Post"})


class Funnel:
    """Wraps an SDK's funnel when it is imported, and takes the wrappers off again.

    Attributes:
        sdk: Which one.
        hosts: Whose calls they are, by host.
        spans: Makes the spans of its calls; may be silenced or sent elsewhere by itself.
    """

    def __init__(self, sdk: Sdk, lifecycle: Lifecycle, sightings: Sightings) -> None:
        self.sdk = sdk
        self.spans = lifecycle.spans.apart()
        self.hosts = HostTable(sdk.provider, sdk.hosts)
        self._module = f"{sdk.package}._base_client"
        self._left_out = sdk.left_out
        self._lifecycle = lifecycle
        self._sightings = sightings
        self._guard = Guard(f"{sdk.package}.funnel")
        self._is_active = False
        self._is_hooked = False
        self._is_patched = False
        self._wake: Callable[[], None] | None = None
        self._undo: list[tuple[type, str, object, object]] = []
        self._last_stray: Callable[[], object] = object
        self._extractors = {
            path.path: self._extractor(path) for path in sdk.paths if not path.is_batch
        }
        self._batches = BatchDoor(sdk, lifecycle, self.hosts, self.spans)
        self._jobs = JobSight(sdk, self.hosts)
        self._files = FileSight(sdk, self.hosts)
        # By URL as it was asked for; None for what is not gated.
        self._by_url: dict[str, PathExtractor | None] = {**self._extractors}

    @property
    def holds(self) -> bool:
        """Whether every call of the SDK passes here, now or once it is imported."""
        return self._is_active and (bool(self._undo) or self.sdk.package not in sys.modules)

    def apply(self) -> None:
        """Wrap what is imported already, and the rest as it is imported."""
        self._is_active = True
        if not self._is_hooked:
            self._is_hooked = True
            # The package's own hook comes last: its clients and resources are there then.
            wrapt.register_post_import_hook(self._patch, self.sdk.package)
            for name in self.sdk.sockets:
                wrapt.register_post_import_hook(self._patch_sockets, name)
        else:
            self._patch(sys.modules.get(self.sdk.package))
            for name in self.sdk.sockets:
                self._patch_sockets(sys.modules.get(name))

    def remove(self) -> None:
        """Put the very same functions back; where somebody wrapped over ours, pass through."""
        self._is_active = False
        for owner, name, original, ours in self._undo:
            if owner.__dict__.get(name) is ours:
                setattr(owner, name, original)
        self._undo = []
        self._is_patched = False

    def wake_before_next(self, wake: Callable[[], None]) -> None:
        """Call this once, before the next request: after a fork, say."""
        self._wake = wake
        self._by_url = {}  # so that the next one is looked up slowly, where waking costs no other

    # -- wrapping --

    def _patch(self, package: Any) -> None:
        if package is None or self._is_patched or not self._is_active:
            return
        self._is_patched = True
        with Guard(f"{self.sdk.package}.patch"):
            module = sys.modules.get(self._module)
            for name, wrapper in _FUNNELS:
                owner = getattr(module, name, None)
                if "request" in getattr(owner, "__dict__", {}):
                    self._wrap(cast("type", owner), "request", getattr(self, wrapper))
                    self._watch_attempts(owner)
                else:  # no gate where it belongs: `doctor` says so
                    self._sightings("unwrapped", f"{self.sdk.package}.{name}.request")
            for name in self.sdk.clients:
                # OpenInference overrides the method in these classes, over the one that it found.
                owner = getattr(package, name, None)
                if owner is not None and "request" in owner.__dict__:
                    is_async = name.startswith("Async")
                    self._wrap(owner, "request", self._request_async if is_async else self._request)

    def _patch_sockets(self, module: Any) -> None:
        """Count what goes over a WebSocket: it is not metered, and `doctor` says so."""
        if module is None or not self._is_active:
            return
        with Guard(f"{self.sdk.package}.patch"):
            members = cast("dict[str, object]", vars(module))
            for owner in [member for member in members.values() if isinstance(member, type)]:
                connect = owner.__dict__.get("connect")
                is_ours = getattr(connect, "_self_wrapper", None) == self._see_socket
                if connect is not None and not is_ours:
                    self._wrap(owner, "connect", self._see_socket)

    def _watch_attempts(self, owner: Any) -> None:
        for retry in _RETRIES:
            if retry in owner.__dict__:
                self._wrap(owner, retry, self._see_retry)
                break
        else:
            self._sightings("unwrapped", f"{self.sdk.package}.{owner.__name__}._sleep_for_retry")
        if self.sdk.has_native_span is not None and "_request" in owner.__dict__:
            self._wrap(owner, "_request", self._see_span)

    def _wrap(self, owner: type, name: str, wrapper: Callable[..., object]) -> None:
        original = owner.__dict__[name]
        ours = wrapt.FunctionWrapper(original, wrapper)
        setattr(owner, name, ours)
        self._undo.append((owner, name, original, ours))

    # -- wrappers --

    def _request(
        self,
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        try:
            options = args[1]
        except IndexError:
            options = kwargs.get("options")
        extractor = self._find(instance, options)
        if extractor is None:
            batch = self._batch(instance, options)
            if batch is not None:
                asked = Asked(instance, options, is_stream=False)
                return self._batches.call(batch, asked, self._proxy, wrapped, args, kwargs)
            note = self._files.before(self._lifecycle.desk, instance, options)
            with self._nothing_of_ours(options):
                result = wrapped(*args, **kwargs)
            self._see_job(instance, options, result, note)
            return result
        asked = Asked(instance, options, kwargs.get("stream", False))
        return self._lifecycle.call(extractor, self._proxy, asked, wrapped, args, kwargs)

    async def _request_async(
        self,
        wrapped: Callable[..., Awaitable[object]],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        try:
            options = args[1]
        except IndexError:
            options = kwargs.get("options")
        extractor = self._find(instance, options)
        if extractor is None:
            batch = self._batch(instance, options)
            if batch is not None:
                asked = Asked(instance, options, is_stream=False)
                return await self._batches.call_async(
                    batch, asked, self._proxy_async, wrapped, args, kwargs
                )
            desk = self._lifecycle.desk
            note = await self._files.before_async(desk, instance, options)
            with self._nothing_of_ours(options):
                result = await wrapped(*args, **kwargs)
            if self._is_active and not self._is_gated(options):
                await self._jobs.see_async(desk, instance, options, result)
                await self._files.see_async(desk, instance, options, result, note)
            return result
        asked = Asked(instance, options, kwargs.get("stream", False))
        return await self._lifecycle.call_async(
            extractor, self._proxy_async, asked, wrapped, args, kwargs
        )

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
                flight.retries += 1
                error = sys.exc_info()[1]
                response = kwargs.get("response") or getattr(error, "response", None)
                if retry_was_maybe_billed(response, error):
                    flight.maybe_billed += 1
        return wrapped(*args, **kwargs)

    def _see_span(
        self,
        wrapped: Callable[..., object],
        instance: object,  # noqa: ARG002 - wrapt's
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        """Stamp the span that the SDK has just started for a call of ours."""
        if current_call.get() is not None:
            with self._guard:
                mark_inner_span()
        return wrapped(*args, **kwargs)

    def _see_socket(
        self,
        wrapped: Callable[..., object],
        instance: object,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> object:
        if self._is_active:
            with self._guard:
                name = f"{self.sdk.package} {type(instance).__name__}.connect"
                self._sightings("not_metered", name)
        return wrapped(*args, **kwargs)

    # -- inside --

    @contextmanager
    def _nothing_of_ours(self, options: Any) -> Generator[None]:
        """Let a request that is not gated be made without what is for us, or comes from us."""
        token = None
        with self._guard:
            Asked(None, options, is_stream=False).take_ours()
            context = get_current()
            if BAGGAGE in context:
                token = attach(outbound(context))
        try:
            yield
        finally:
            if token is not None:
                detach(token)

    def _extractor(self, path: ApiPath) -> PathExtractor:
        asks_for_job = path.asks_for_job
        if asks_for_job is None:
            return PathExtractor(self.sdk, path, self.hosts, self.spans)
        return JobExtractor(self.sdk, path, self.hosts, self.spans, self._lifecycle, asks_for_job)

    def _batch(self, client: object, options: Any) -> str | None:
        """Return the path of a request that begins a batch; None for any other, or a second one."""
        if not self._is_active or self._is_gated(options):
            return None
        path = None
        with self._guard:
            path = self._batches.path_of(options)
            name = None if path is None or self._left_out is None else self._left_out(client)
            if name is not None:
                self._sightings("past_the_gate", f"{self.sdk.package} {name}")
                return None
        return path

    def _see_job(self, client: object, options: Any, result: object, note: bytes | None) -> None:
        if self._is_active and not self._is_gated(options):
            self._jobs.see(self._lifecycle.desk, client, options, result)
            self._files.see(self._lifecycle.desk, client, options, result, note)

    def _is_gated(self, options: Any) -> bool:
        """Say whether this is a second `request` on the way down of a call that is gated."""
        flight = current_call.get()
        return flight is not None and getattr(flight.asked, "options", None) is options

    def _find(self, client: object, options: Any) -> PathExtractor | None:
        """Return what reads a request; None for what is not gated, or is being gated already."""
        flight = current_call.get()
        if flight is not None and getattr(flight.asked, "options", None) is options:
            return None  # a second `request` on its way down
        try:
            extractor = self._by_url[options.url]
        except (KeyError, AttributeError, TypeError):
            extractor = None
            with self._guard:
                extractor = self._find_slowly(options)
        if not self._is_active:
            return None
        if extractor is not None and options.method in _POST:
            if self._left_out is None:
                return extractor
            name = self._left_out(client)
            if name is None:
                return extractor
            with self._guard:
                self._sightings("past_the_gate", f"{self.sdk.package} {name}")
            return None
        with self._guard:
            self._see_stray(options)
        return None

    def _find_slowly(self, options: Any) -> PathExtractor | None:
        """Look a URL up that was not met before: with a query, a host, without a slash."""
        wake, self._wake = self._wake, None
        if wake is not None:
            with self._guard:
                wake()
        url = str(options.url)
        parts = urlsplit(url)
        path = "/" + parts.path.strip("/")
        found = self._extractors.get(path)
        if found is None and parts.netloc:
            found = next(
                (each for known, each in self._extractors.items() if path.endswith(known)), None
            )
        if len(self._by_url) < _MOST_PATHS:
            self._by_url[url] = found
        return found

    def _see_stray(self, options: Any) -> None:
        """Count a request once, also where it passes a second `request` on its way down."""
        if self._last_stray() is options or self._batches.path_of(options) is not None:
            return
        path = self.sdk.billable(
            str(getattr(options, "method", "post")), str(getattr(options, "url", ""))
        )
        if path is not None:
            self._last_stray = weakref.ref(options)
            self._sightings("past_the_gate", f"{self.sdk.package} POST {path}")

    def _proxy(self, result: object, run: Run, reader: StreamReader) -> object:
        watch = Watch(self._lifecycle, run, reader, self.sdk.stream_source)
        if isinstance(reader, Attached):
            return reader.attach(result, watch)
        return SyncStreamProxy(result, watch)  # type: ignore[arg-type]  # the reader says it is one

    def _proxy_async(self, result: object, run: Run, reader: StreamReader) -> object:
        watch = Watch(self._lifecycle, run, reader, self.sdk.stream_source)
        if isinstance(reader, Attached):
            return reader.attach(result, watch)
        return AsyncStreamProxy(result, watch)  # type: ignore[arg-type]  # the same
