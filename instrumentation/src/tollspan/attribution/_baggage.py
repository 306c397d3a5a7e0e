"""Attribution in W3C baggage, between services that share a secret; and none of it to providers.

A value is sealed: whoever sees the header learns nothing from it, and only who knows the secret can
make one. It is a deterministic seal (as in SIV, RFC 5297: the tag over name and value is the nonce
of the stream that hides the value), so that equal values have equal entries. One that leaked can be
sent again: what comes from outside must lose its baggage where it enters.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections import OrderedDict
from hashlib import shake_256

from opentelemetry import baggage
from opentelemetry.context import Context

from tollspan.safety import Guard, report
from tollspan.semconv import BAGGAGE_PREFIX
from tollspan.usage import TAG_PREFIX, Attribution, AttributionError, read_attribution, value_of

BAGGAGE = next(iter(baggage.set_baggage("key", "value", Context())))
"""The key of a context's baggage; a context without it has none."""
SHORTEST_SECRET = 16
_TAG_BYTES = 16
_BLOCK_BYTES = 16
_MOST_SEEN = 1024
_guard = Guard("attribution.baggage")
_Entries = tuple[tuple[str, str], ...]


class Baggage:
    """How attribution travels in baggage.

    Args:
        secret: Shared by the services, `SHORTEST_SECRET` characters or more.
        dimensions: What travels, tags as `tag.tier`.
        reads: What comes in is trusted where it is sealed with the secret.
        writes: What blocks say is put into the baggage, for the services that are called.
    """

    def __init__(
        self, *, secret: str, dimensions: tuple[str, ...], reads: bool, writes: bool
    ) -> None:
        self.dimensions = dimensions
        self.reads = reads
        self.writes = writes
        self._sealing = hmac.digest(secret.encode(), b"tollspan baggage: seal", "sha256")
        self._hiding = hmac.digest(secret.encode(), b"tollspan baggage: hide", "sha256")
        self._names = frozenset(f"{BAGGAGE_PREFIX}{name}" for name in dimensions)
        self._seen: OrderedDict[_Entries, Attribution] = OrderedDict()

    def write(self, context: Context, attribution: Attribution) -> Context:
        """Return the context with what travels in its baggage; what nobody said stays as it is."""
        with _guard:
            for dimension in self.dimensions:
                value = value_of(attribution, dimension)
                if value is not None:
                    name = f"{BAGGAGE_PREFIX}{dimension}"
                    context = baggage.set_baggage(name, self.seal(name, value), context)
        return context

    def read(self, context: Context) -> Attribution:
        """Return what the baggage says; what is not sealed with the secret says nothing."""
        with _guard:
            entries = tuple(
                (name, value)
                for name, value in baggage.get_all(context).items()
                if name in self._names and isinstance(value, str)
            )
            if entries:
                return self._seen.get(entries) or self._remember(entries)
        return _NOTHING

    def seal(self, name: str, value: str) -> str:
        """Return what stands for a value in the baggage."""
        text = value.encode()
        text += bytes(-len(text) % _BLOCK_BYTES)  # no value has a null character
        tag = self._tag(name, text)
        return base64.urlsafe_b64encode(tag + self._hide(tag, text)).decode().rstrip("=")

    def open(self, name: str, sealed: str) -> str:
        """Return the value of an entry.

        Raises:
            AttributionError: It was not sealed with this secret and for this name.
        """
        try:
            raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        tag, text = raw[:_TAG_BYTES], self._hide(raw[:_TAG_BYTES], raw[_TAG_BYTES:])
        if not hmac.compare_digest(tag, self._tag(name, text)):
            raise AttributionError(
                f"baggage entry {name} is not sealed with this service's TOLLSPAN_BAGGAGE_SECRET: "
                "give both services the same one"
            )
        return text.rstrip(b"\0").decode()

    def _remember(self, entries: _Entries) -> Attribution:
        values: dict[str, object] = {}
        tags: dict[str, str] = {}
        for name, sealed in entries:
            dimension = name.removeprefix(BAGGAGE_PREFIX)
            try:
                value = self.open(name, sealed)
            except AttributionError as error:
                report(_guard.place, error)
                continue
            if dimension.startswith(TAG_PREFIX):
                tags[dimension.removeprefix(TAG_PREFIX)] = value
            else:
                values[dimension] = value
        found = read_attribution({**values, "tags": tags})
        self._seen[entries] = found
        if len(self._seen) > _MOST_SEEN:
            self._seen.popitem(last=False)
        return found

    def _tag(self, name: str, text: bytes) -> bytes:
        return hmac.digest(self._sealing, name.encode() + b"\0" + text, "sha256")[:_TAG_BYTES]

    def _hide(self, tag: bytes, text: bytes) -> bytes:
        stream = shake_256(self._hiding + tag).digest(len(text))
        return bytes(map(int.__xor__, text, stream))


_NOTHING = Attribution()


def outbound(context: Context) -> Context:
    """Return the context as a provider may get it: without entries of ours in its baggage."""
    with _guard:
        for name in baggage.get_all(context):
            if name.startswith(BAGGAGE_PREFIX):
                context = baggage.remove_baggage(name, context)
    return context
