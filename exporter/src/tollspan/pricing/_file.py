"""The price book's file: reading it, checking its hash, and its parts as values."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tollspan.usage import PriceBookError

FORMAT = 1
MOST_BYTES = 64 << 20
SHIPPED = Path(__file__).with_name("prices.json")


class Row(msgspec.Struct, frozen=True, array_like=True):
    """Prices of one model in one service tier, one span of days and one context tier.

    All are exact: a price is an integer of pico-USD for `per` tokens or units.

    Attributes:
        tier: `standard`, `batch`, `flex`, `priority`, ….
        valid_from: First day (UTC, ISO) on which it holds, None from ever.
        valid_to: First day on which it no longer holds, None while it does.
        above: It holds for calls with strictly more input tokens than this; 0 for all.
        per: Tokens, or units, that the prices are for.
        prices: Bucket or unit of `Usage` → pico-USD for `per` of them.
        source: Index into the book's sources, -1 for the operator's own prices.
        minutes: First minute of the UTC day in which it holds, and the first in which it no
            longer does; None for the whole day. A span may go over midnight.
        is_reported: What the provider itself says that a call cost is posted, not our sum.
    """

    tier: str
    valid_from: str | None
    valid_to: str | None
    above: int
    per: int
    prices: dict[str, int]
    source: int
    minutes: tuple[int, int] | None = None
    is_reported: bool = False


class Model(msgspec.Struct, frozen=True, array_like=True):
    """One priced model; limits are in tokens, None where no source knows them.

    Attributes:
        regions: Region → the (numerator, denominator) that its token prices are multiplied by, or
            the key of the model that has its prices. `*` stands for every region without an entry
            of its own; without it such a region has no price. Empty: regions do not matter.
        own: The operator's rows; where one holds, the others of its tier don't.
    """

    context_window: int | None
    max_output_tokens: int | None
    rows: tuple[Row, ...]
    regions: dict[str, tuple[int, int] | str] = {}
    own: tuple[Row, ...] = ()


class Ceiling(msgspec.Struct, frozen=True, kw_only=True):
    """The dearest that a provider has, whatever the model, tier, region and day; for one each."""

    input_picousd: int = 0
    input_row: str | None = None
    output_picousd: int = 0
    output_row: str | None = None
    units: dict[str, int] = {}
    context_window: int | None = None
    max_output_tokens: int | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's part of the book.

    Attributes:
        models: The book's key → model, still encoded.
        names: Every exact name → key.
        dated: Names that may carry any date behind them.
        auto_tiers: Tiers in which a call may run, besides standard, that asks for none.
        constant_tokens: Input tokens that the provider may add to what the caller's bytes hold.
        ceiling: The provider's dearest prices.
        fees: Unit → pico-USD for one, whatever the model, where its row has no price for it.
        hosts: The provider's regional hosts → region. A host may have a `*` in it, which is the
            region where that is `*` too.
        fallbacks: Providers whose models it sells at their prices.
        is_reported: As in `Row`, for all of them.
    """

    models: dict[str, msgspec.Raw]
    names: dict[str, str]
    dated: frozenset[str]
    auto_tiers: tuple[str, ...]
    constant_tokens: int
    ceiling: Ceiling
    fees: dict[str, int] = {}
    hosts: dict[str, str] = {}
    fallbacks: tuple[str, ...] = ()
    is_reported: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where prices come from: a published table, in one version."""

    name: str
    version: str
    licence: str
    url: str
    sha256: str


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """All that the hash covers; providers are still encoded.

    Attributes:
        aliases: Other names of providers → the name that `providers` has.
    """

    currency: str
    date: str
    sources: tuple[Source, ...]
    providers: dict[str, msgspec.Raw]
    aliases: dict[str, str] = {}


class _Document(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    book_id: str
    sha256: str
    body: msgspec.Raw


_decode_document = msgspec.json.Decoder(_Document).decode
_decode_body = msgspec.json.Decoder(Body).decode
_decode_provider = msgspec.json.Decoder(Provider).decode
_decode_model = msgspec.json.Decoder(Model).decode


def read(path: Path | None) -> tuple[str, Body]:
    """Return the id and the body of a book.

    Args:
        path: The file, or None for the book that ships with tollspan.

    Raises:
        PriceBookError: It can't be read, has another format, or is not what was hashed.
    """
    source = SHIPPED if path is None else path
    fix = "reinstall tollspan" if path is None else "compile it anew or take out the setting"
    try:
        with source.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise PriceBookError(f"price book {source}: {error.strerror}; {fix}") from error
    if len(data) > MOST_BYTES:
        raise PriceBookError(f"price book {source}: is larger than any book; {fix}")
    try:
        document = _decode_document(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise PriceBookError(f"price book {source}: {error}; {fix}") from error
    if document.format != FORMAT:
        raise PriceBookError(
            f"price book {source}: format {document.format}, this tollspan reads {FORMAT}; {fix}"
        )
    digest = hashlib.sha256(document.body).hexdigest()
    if digest != document.sha256:
        raise PriceBookError(
            f"price book {source}: it was altered, its sha256 is {digest} and not "
            f"{document.sha256}; {fix}"
        )
    try:
        body = _decode_body(document.body)
    except msgspec.DecodeError as error:
        raise PriceBookError(f"price book {source}: {error}; {fix}") from error
    wanted = f"{body.date.replace('-', '')}-{digest[:12]}"
    if document.book_id != wanted or body.currency != "USD":
        raise PriceBookError(
            f"price book {source}: it says {document.book_id} in {body.currency}, its content "
            f"says {wanted} in USD; {fix}"
        )
    return document.book_id, body


def provider(body: Body, name: str) -> Provider | None:
    """Return a provider's part of the book, None when the book has none of this name.

    Raises:
        PriceBookError: It is not what this version can read.
    """
    raw = body.providers.get(name)
    if raw is None:
        return None
    try:
        return _decode_provider(raw)
    except msgspec.DecodeError as error:
        raise PriceBookError(f"price book, provider {name}: {error}; compile it anew") from error


def model(part: Provider, key: str) -> Model:
    """Return the model under a key that the book's names lead to.

    Raises:
        PriceBookError: It is missing, or not what this version can read.
    """
    try:
        return _decode_model(part.models[key])
    except (KeyError, msgspec.DecodeError) as error:
        raise PriceBookError(f"price book, model {key}: {error}; compile it anew") from error
