"""The operator's own prices, as values: what `prices.yaml` says. Reading it is in `_yaml`."""

from __future__ import annotations

import msgspec

from ._file import Row


class Alias(msgspec.Struct, frozen=True, kw_only=True):
    """What a name of the operator's stands for: a model of some provider, perhaps in a region."""

    provider: str
    model: str
    region: str | None = None


class OwnModel(msgspec.Struct, frozen=True, kw_only=True):
    """The operator's prices of one model.

    Attributes:
        rows: Prices for every region, before its surcharge.
        regions: Region → prices for it alone, surcharge included.
        context_window, max_output_tokens: Limits in tokens; None to leave the book's.
    """

    rows: tuple[Row, ...] = ()
    regions: dict[str, tuple[Row, ...]] = {}
    context_window: int | None = None
    max_output_tokens: int | None = None


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """All that an operator says of prices. Names are in lower case; a name may end in `*`.

    Attributes:
        source: The file's name for messages; empty for no overrides at all.
        sha256: Of the file, so that every cost says by which prices it was made.
        models: Provider → name → prices.
        aliases: Provider → name → what it stands for.
        fees: Provider → unit → pico-USD for one, whatever the model.
        reserves: Unit, or `input_tokens` → the most that a call uses where nothing limits it;
            None for no such assumption.
    """

    source: str = ""
    sha256: str = ""
    models: dict[str, dict[str, OwnModel]] = {}
    aliases: dict[str, dict[str, Alias]] = {}
    fees: dict[str, dict[str, int]] = {}
    reserves: dict[str, int | None] = {}


NO_OVERRIDES = Overrides()
