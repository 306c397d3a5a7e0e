"""One request at an SDK's funnel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from tollspan.safety import report
from tollspan.usage import Attribution, ConfigError, Request, read_attribution

_ASKED = {"include_usage": True}
_OURS, _RESERVE = "tollspan", "input_reserve_tokens"
_PLACE = f'extra_body["{_OURS}"]'
_RAW_HEADER = "X-Stainless-Raw-Response"


class Asked(msgspec.Struct):
    """What the funnel is asked to send.

    Attributes:
        client: The SDK's client.
        options: The SDK's `FinalRequestOptions`: made for this request by whoever asks.
        is_stream: The SDK is to return a stream.
        given: The body and what is merged into it, as the caller gave them; None while they are
            in `options` untouched.
        ours: What the caller told us in `extra_body={"tollspan": {…}}`; it is not sent.
        said: What that says of who pays for this call; None when there was nothing.
        unchanged: The body and what is merged into it, before the gate had something else sent.
        was_rerouted: It had another model sent.
        is_put_back: That failed, and the caller's own model is asked for.
        is_taken_back: We had asked for a stream's usage, and the server refused that.
    """

    client: Any
    options: Any
    is_stream: bool
    given: tuple[Any, Any] | None = None
    ours: object = None
    said: Attribution | None = None
    unchanged: tuple[Any, Any] | None = None
    was_rerouted: bool = False
    is_put_back: bool = False
    is_taken_back: bool = False

    def body(self) -> Mapping[str, object]:
        """Return the JSON object that is sent, `extra_body` merged in as on the wire."""
        options = self.options
        body, extra = _mapping(options.json_data), _mapping(options.extra_json)
        return {**body, **extra} if extra else body

    @property
    def is_raw(self) -> bool:
        """Whether the caller wants the response itself: he reads its bytes, or parses it later."""
        headers = self.options.headers
        return _RAW_HEADER in _mapping(headers)

    def take_ours(self) -> None:
        """Take out of `extra_body` what is for us: the provider must not see it."""
        fields = cast("dict[str, Any]", vars(self.options))
        extra = _mapping(fields.get("extra_json"))
        if _OURS in extra:
            self.ours = extra[_OURS]
            fields["extra_json"] = {name: extra[name] for name in extra if name != _OURS} or None

    def apply_ours(self, request: Request) -> Request:
        """Return the request with what the caller told us of it, and keep what he said besides.

        What makes no sense is reported, and left out.
        """
        if self.ours is None:
            return request
        ours = dict(_mapping(self.ours))
        if not isinstance(self.ours, Mapping):
            kind = type(self.ours).__name__
            _left_out(ConfigError(f"{_PLACE} is of type {kind}; expected a JSON object"))
        reserve = ours.pop(_RESERVE, None)
        self.said = read_attribution(ours, place=f"{_PLACE}: ", on_wrong=_left_out)
        if reserve is None:
            return request
        if type(reserve) is not int or reserve < 0:
            _left_out(
                ConfigError(f"{_PLACE}: {_RESERVE} is {reserve!r}; expected a number of tokens")
            )
            return request
        return msgspec.structs.replace(request, input_reserve_tokens=reserve)

    def put(self, values: Mapping[str, object]) -> None:
        """Have other values sent, wherever the caller gave them: his own objects stay as they are.

        Raises:
            TypeError: The body is no JSON object.
        """
        fields = cast("dict[str, Any]", vars(self.options))
        body, extra = fields["json_data"], _mapping(fields.get("extra_json"))
        self.unchanged = (body, fields.get("extra_json"))
        self.was_rerouted = "model" in values
        beside = {name: values[name] for name in values if name in extra}
        if beside:
            fields["extra_json"] = {**extra, **beside}
        fields["json_data"] = {
            **body,
            **{name: values[name] for name in values if name not in beside},
        }

    def put_back(self) -> None:
        """Have sent what the caller asked for; what he told us is to be read once more."""
        fields = cast("dict[str, Any]", vars(self.options))
        if self.unchanged is not None:
            body, extra = self.unchanged
            ours = {} if self.ours is None else {_OURS: self.ours}
            fields["json_data"], fields["extra_json"] = body, {**_mapping(extra), **ours} or None
        self.is_put_back = True

    def ask_for_usage(self) -> None:
        """Ask a stream for its usage, unless the caller did so, or takes raw bytes."""
        options = self.options
        wanted: Any = options.json_data.get("stream_options")
        if wanted == _ASKED and not options.extra_json:
            return  # as nearly everybody writes it
        if self.is_raw:
            return
        wanted = self.body().get("stream_options")
        dump = getattr(wanted, "model_dump", None)
        if dump is not None:
            wanted = dump(mode="json", exclude_unset=True)
        if _mapping(wanted).get("include_usage"):
            return
        # The model's own setter takes hundreds of steps.
        fields = cast("dict[str, Any]", vars(self.options))
        given, extra = self.given = (fields["json_data"], fields.get("extra_json"))
        asked = {**_mapping(wanted), "include_usage": True}
        if extra and "stream_options" in extra:
            fields["extra_json"] = {**extra, "stream_options": asked}
        else:
            fields["json_data"] = {**given, "stream_options": asked}

    def restore(self) -> None:
        """Put back into the options what the caller gave."""
        if self.given is not None:
            fields = cast("dict[str, Any]", vars(self.options))
            fields["json_data"], fields["extra_json"] = self.given
            self.given = None


def _left_out(error: ConfigError) -> None:
    report("instrumentation.extra_body", error)


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}
