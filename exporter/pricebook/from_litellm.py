"""Reads LiteLLM's price table (MIT) as data: limits, and what genai-prices lacks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction

from rows import ANY_TIER, Model, Price, Row

SOURCE = "litellm"
PROVIDERS = {
    "anthropic": "anthropic",
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "bedrock_converse": "aws.bedrock",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "fal_ai": "fal_ai",
    "gemini": "gcp.gemini",
    "groq": "groq",
    "mistral": "mistral_ai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together_ai": "together",
    "vertex_ai-anthropic_models": "gcp.vertex_ai",
    "xai": "x_ai",
}
# Providers whose models are taken from here where genai-prices has none, or none in that region.
FILLED = {"aws.bedrock", "azure.ai.openai", "fal_ai", "gcp.vertex_ai", "openai"}
# Their list price holds in every region that the table does not name.
SAME_ELSEWHERE = {"aws.bedrock", "azure.ai.openai"}
# Modes whose answers are billed by tokens (tools apart).
TOKEN_MODES = {"chat", "completion", "embedding", "moderation", "realtime", "responses"}
# Modes whose answers may be billed by what is counted besides tokens.
UNIT_MODES = {
    "audio_speech",
    "audio_transcription",
    "image_generation",
    "ocr",
    "rerank",
    "video_generation",
}
UNITS = {
    "input_cost_per_token": "input_uncached",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_in",
    "cache_read_input_audio_token_cost": "audio_cache_read",
    "input_cost_per_image_token": "image_in",
    "cache_read_input_image_token_cost": "image_cache_read",
    "input_cost_per_video_token": "video_in",
    "output_cost_per_token": "output",
    "output_cost_per_reasoning_token": "reasoning",
    "output_cost_per_audio_token": "audio_out",
    "output_cost_per_image_token": "image_out",
    "output_cost_per_video_token": "video_out",
}
# Key, and the modes in which it means so → unit, and how many of it the price is for.
_MS = 1_000
QUANTITIES = {
    ("output_cost_per_image", "image_generation"): ("images", 1),
    ("input_cost_per_image", "image_generation"): ("images", 1),
    ("output_cost_per_video_per_second", "video_generation"): ("video_out_ms", _MS),
    ("output_cost_per_second", "video_generation"): ("video_out_ms", _MS),
    ("input_cost_per_second", "audio_transcription"): ("audio_in_ms", _MS),
    ("input_cost_per_character", "audio_speech"): ("characters", 1),
    ("ocr_cost_per_page", "ocr"): ("pages", 1),
    ("annotation_cost_per_page", "ocr"): ("annotated_pages", 1),
    ("input_cost_per_query", "rerank"): ("searches", 1),
}
_HIGH_RES = "-high-res"
_SIZED = ("output_cost_per_second", "video_generation")
TIERS = {"": "standard", "batches": "batch", "flex": "flex", "priority": "priority"}
TIERS["ultrafast"] = "ultrafast"
_KEY = re.compile(
    f"({'|'.join(sorted(UNITS, key=len, reverse=True))})"
    f"(?:_above_([0-9]+)k_tokens)?(?:_({'|'.join(filter(None, TIERS))}))?"
)
_REGION = re.compile(r"(?:azure/(eu|us|us-gov|apac)|bedrock/([a-z]{2}(?:-gov)?-[a-z]+-[0-9]))/(.+)")
# `high/1024-x-1536/gpt-image-1`, `1024-x-1024/dall-e-2`: variants of one model.
_IMAGE = re.compile(r"(?:([a-z]+)/)?([0-9]+)-x-([0-9]+)/([^/]+)")
# What is not the same model on demand, though its name ends in one.
_OTHER_TERMS = re.compile(
    r"(?:bedrock|azure)/.*(?:commitment|claude_platform|invoke|guardrails|speech)/"
)
_MILLION = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the table, its floats read as the decimals that they were written as.

    Attributes:
        region: Where alone its prices hold, None for everywhere.
        prices: (tier, input tokens above which it holds, bucket) → USD per million tokens.
        quantities: Unit → USD for a million of it.
        uplifts: Region → what token prices are multiplied by there.
    """

    name: str
    mode: str
    context_window: int | None
    max_output_tokens: int | None
    prices: dict[tuple[str, int, str], Decimal]
    region: str | None = None
    quantities: dict[str, Price] = field(default_factory=dict)
    uplifts: dict[str, Fraction] = field(default_factory=dict)

    def rows(self, tier: str, *, valid_from: str | None) -> list[Row]:
        """Return the rows of one tier; units that the tier doesn't name keep the standard price."""
        steps = sorted({above for own, above, _ in self.prices if own in {tier, "standard"}} | {0})
        return [
            Row(
                tier=tier,
                valid_from=valid_from,
                valid_to=None,
                above=above,
                prices=tuple(sorted(self.units(tier, above).items())),
                source=SOURCE,
            )
            for above in steps
        ]

    def tiers(self) -> set[str]:
        """Return the tiers that have prices of their own."""
        return {tier for tier, _, _ in self.prices}

    def units(self, tier: str, above: int) -> dict[str, Decimal]:
        """Return the prices of calls with more than `above` input tokens in one tier.

        A bucket that the tier doesn't name keeps the standard price. One whose standard price
        rises with the context, while the tier's is given for short ones only, is left out.
        """
        standard, own = self._reached("standard", above), self._reached(tier, above)
        units = {unit: price for unit, (_, price) in standard.items()}
        for unit, (step, price) in own.items():
            if unit in standard and standard[unit][0] > step:
                del units[unit]
            else:
                units[unit] = price
        return units

    def _reached(self, tier: str, above: int) -> dict[str, tuple[int, Decimal]]:
        found: dict[str, tuple[int, Decimal]] = {}
        for (own, step, unit), price in sorted(self.prices.items()):
            if own == tier and step <= above:
                found[unit] = (step, price)
        return found


def read(text: str) -> dict[str, list[Entry]]:
    """Return the entries whose prices can be taken, by provider in the semantic conventions."""
    table: dict[str, list[Entry]] = {}
    for name, raw in sorted(json.loads(text, parse_float=Decimal).items()):
        theirs = raw.get("litellm_provider")
        provider, mode = PROVIDERS.get(theirs), raw.get("mode")
        if provider is None or mode not in TOKEN_MODES | UNIT_MODES or _OTHER_TERMS.match(name):
            continue
        located = _REGION.fullmatch(name)
        region = located and (located[1] or located[2])
        bare = located[3] if located else _bare(name, theirs)
        image = _IMAGE.fullmatch(bare) if mode == "image_generation" else None
        entry = Entry(
            name=image[4] if image else bare,
            mode=mode,
            context_window=_limit(raw.get("max_input_tokens")),
            max_output_tokens=_limit(raw.get("max_output_tokens")),
            prices=_prices(raw),
            region=region,
            quantities=_quantities(raw, mode, image),
            uplifts=_uplifts(raw),
        )
        if mode in TOKEN_MODES or entry.prices or entry.quantities:
            table.setdefault(provider, []).append(entry)
    return table


def _bare(name: str, provider: str) -> str:
    for prefix in (provider, "vertex_ai", "azure/global", "azure/global-standard"):
        name = name.removeprefix(f"{prefix}/")
    return name


def _limit(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _number(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, Decimal | int):
        return None
    return Decimal(value)


def _prices(raw: dict[str, object]) -> dict[tuple[str, int, str], Decimal]:
    prices: dict[tuple[str, int, str], Decimal] = {}
    for key, value in raw.items():
        match, price = _KEY.fullmatch(key), _number(value)
        if match and price is not None:
            unit, thousands, tier = match.groups()
            place = (TIERS[tier or ""], int(thousands or 0) * 1_000, UNITS[unit])
            prices[place] = price * _MILLION
    return prices


def _quantities(raw: dict[str, object], mode: str, image: re.Match[str] | None) -> dict[str, Price]:
    found: dict[str, Price] = {}
    for (key, in_mode), (unit, count) in QUANTITIES.items():
        price = _number(raw.get(key))
        if mode == in_mode and price:
            variant = ""
            if image is not None:
                quality, width, height, _ = image.groups()
                variant = f":{quality or 'standard'}/{width}x{height}"
            found[unit + variant] = Fraction(price) * _MILLION / count
    for key, value in raw.items():
        size, price = key.removeprefix(f"{_SIZED[0]}_"), _number(value)
        if mode == _SIZED[1] and size != key and price and re.fullmatch("[0-9]+[kp]", size):
            unit, count = QUANTITIES[_SIZED]
            found[f"{unit}:{size}"] = Fraction(price) * _MILLION / count
    if "video_out_ms" in found and len(found) > 1:
        found["video_out_ms:720p"] = found.pop("video_out_ms")
    search = raw.get("search_context_cost_per_query")
    costs = set(search.values()) if isinstance(search, dict) else set()
    if len(costs) == 1 and (price := _number(costs.pop())):
        found["web_searches"] = Fraction(price) * _MILLION
    if price := _number(raw.get("google_maps_grounding_cost_per_query")):
        found["maps_searches"] = Fraction(price) * _MILLION
    return found


def _uplifts(raw: dict[str, object]) -> dict[str, Fraction]:
    found: dict[str, Fraction] = {}
    keys = {f"regional_processing_uplift_multiplier_{region}": region for region in ("eu", "us")}
    keys["regional_endpoint_uplift_multiplier"] = "*"
    for key, region in keys.items():
        if factor := _number(raw.get(key)):
            found[region] = Fraction(factor)
    special = raw.get("provider_specific_entry")
    if isinstance(special, dict) and (factor := _number(special.get("us"))):
        found["us"] = Fraction(factor)
    return found


def add(
    book: dict[str, list[Model]],
    table: dict[str, list[Entry]],
    *,
    date: str,
    owner_of: dict[str, dict[str, str | None]],
    left_out: dict[str, str],
) -> None:
    """Add limits, names, units and regions to every provider, and models and tiers to some.

    Args:
        book: Provider → models, changed in place.
        table: What `read` returned.
        date: The day on which the table was read: its tiers hold from then on, it has no history.
        owner_of: Provider → name → key of the model that genai-prices' rules find for it.
        left_out: As in `from_genai_prices.read`.
    """
    for provider, entries in table.items():
        models = {model.key: model for model in book.setdefault(provider, [])}
        for entry in (entry for entry in entries if entry.region is None):
            _add_entry(book, models, provider, entry, date, owner_of, left_out)
        for entry in (entry for entry in entries if entry.region is not None):
            _add_region(book[provider], provider, entry, date, left_out)


def size_videos(models: list[Model]) -> None:
    """Price videos by their size where another model's name says that it is the larger one.

    `sora-2-pro-high-res` is no model that can be asked for: it is `sora-2-pro`, whose videos are
    1024 pixels wide or high in place of 720.
    """
    named = {model.key: model for model in models}
    for model in models:
        high = named.get(f"{model.key}{_HIGH_RES}")
        if high is None:
            continue
        (dear,), (row,) = high.rows, model.rows
        sizes = {"720p": row, "1024p": dear}
        prices = {
            f"video_out_ms:{size}": dict(of.prices)["video_out_ms"] for size, of in sizes.items()
        }
        model.rows = [replace(row, prices=tuple(sorted(prices.items())))]


def _add_entry(
    book: dict[str, list[Model]],
    models: dict[str, Model],
    provider: str,
    entry: Entry,
    date: str,
    owner_of: dict[str, dict[str, str | None]],
    left_out: dict[str, str],
) -> None:
    key = owner_of.get(provider, {}).get(entry.name)
    model = None if key is None else models.get(key)
    named = next((m for m in book[provider] if entry.name in m.names), None)
    if model is None and named is not None:
        model = named  # an earlier entry made it
    is_other = model is not None and provider == "openai" and _has_more_audio(entry, model)
    if model is not None and entry.name not in model.names and not _agree(entry, model):
        if provider not in FILLED or provider == "openai":
            left_out[f"{provider}/{entry.name}"] = "the two sources' prices differ"
            return
        # Bedrock's names for a region, mostly: the dearer reading can't overspend a budget.
        is_other = _is_dearer(entry, model)
    if model is None or is_other:
        is_new = key is None or left_out.get(f"{provider}/{key}") == "no price"
        if (is_new or model is not None) and provider in FILLED:
            _add_model(book[provider], provider, entry, date, left_out)
        return
    _add_limits(model, entry)
    model.names |= _spellings(entry.name)
    model.regions.update(entry.uplifts)
    _add_units(model, entry)
    if provider == "openai":
        _add_tiers(model, entry, date, left_out)


def _spellings(name: str) -> set[str]:
    """Return a name, and the same without Vertex AI's word for its only version."""
    return {name, name.removesuffix("@default")}


def _add_limits(model: Model, entry: Entry) -> None:
    model.context_window = _larger(model.context_window, entry.context_window)
    model.max_output_tokens = _larger(model.max_output_tokens, entry.max_output_tokens)


def _add_units(model: Model, entry: Entry) -> None:
    """Add prices of what is no token, for all tiers, where the model has none."""
    known = model.units()
    prices = {unit: price for unit, price in entry.quantities.items() if unit not in known}
    for row in [row for row in model.rows if row.tier == ANY_TIER]:
        prices |= dict(row.prices)
        model.rows.remove(row)
    if prices:
        model.rows.append(
            Row(
                tier=ANY_TIER,
                valid_from=None,
                valid_to=None,
                above=0,
                prices=tuple(sorted(prices.items())),
                source=SOURCE,
            )
        )


def _add_model(
    models: list[Model], provider: str, entry: Entry, date: str, left_out: dict[str, str]
) -> Model | None:
    if provider == "openai" and "/" in entry.name:
        return None
    if not entry.prices and not entry.quantities:
        left_out[f"{provider}/{entry.name}"] = "no price"
        return None
    if entry.prices and ("standard", 0, "input_uncached") not in entry.prices:
        left_out[f"{provider}/{entry.name}"] = "no price for input tokens"
        return None
    for other in models:
        other.names.discard(entry.name)
        other.dated.discard(entry.name)
    rows = entry.rows("standard", valid_from=None) if entry.prices else []
    for tier in sorted(entry.tiers() - {"standard"}):
        rows += entry.rows(tier, valid_from=date)
    if not rows:
        prices = tuple(sorted(entry.quantities.items()))
        rows = [
            Row(
                tier="standard",
                valid_from=None,
                valid_to=None,
                above=0,
                prices=prices,
                source=SOURCE,
            )
        ]
    model = Model(key=entry.name, rows=rows, regions=dict(entry.uplifts))
    model.names = {n for n in _spellings(entry.name) if not any(n in m.names for m in models)}
    _add_units(model, entry)
    _add_limits(model, entry)
    models.append(model)
    return model


def _add_region(
    models: list[Model], provider: str, entry: Entry, date: str, left_out: dict[str, str]
) -> None:
    """Add the prices of one region: as a factor where it is the same for all, else as rows."""
    if not entry.prices:
        return
    base = next((model for model in models if entry.name in model.names), None)
    if base is None:
        base = Model(key=entry.name, rows=[], names={entry.name})
        models.append(base)
    elif provider in SAME_ELSEWHERE:
        base.regions.setdefault("*", Fraction(1))
    factor = _factor(entry, base)
    assert entry.region is not None
    region = entry.region if entry.region not in base.regions else None
    if factor is not None and region is not None:
        if factor != base.regions.get("*"):
            base.regions[region] = factor
    elif region is not None:
        there = f"{entry.region}/{entry.name}"
        regional = Entry(
            name=there,
            mode=entry.mode,
            context_window=entry.context_window,
            max_output_tokens=entry.max_output_tokens,
            prices=entry.prices,
            quantities=entry.quantities,
        )
        if _add_model(models, provider, regional, date, left_out) is not None:
            base.regions[region] = there


def _factor(entry: Entry, base: Model) -> Fraction | None:
    """Return by what all of today's prices of a model are multiplied in a region."""
    factors: set[Fraction] = set()
    for row in base.rows:
        if row.valid_to is not None or row.tier == ANY_TIER:
            continue
        theirs = entry.units(row.tier, row.above)
        if row.tier not in entry.tiers():
            return None
        for unit, price in row.prices:
            there = theirs.get(unit)
            if there is None:
                return None
            if price or there:
                factors.add(Fraction(there) / Fraction(price) if price else Fraction(0))
    return factors.pop() if len(factors) == 1 else None


def _add_tiers(model: Model, entry: Entry, date: str, left_out: dict[str, str]) -> None:
    if entry.name != model.key:
        return
    for tier in sorted(entry.tiers() - {"standard"}):
        if model.has_tier(tier):
            continue
        if not _agree(entry, model):
            left_out[f"openai/{entry.name}:{tier}"] = "the two sources' standard prices differ"
            continue
        model.rows += entry.rows(tier, valid_from=date)


def _agree(entry: Entry, model: Model) -> bool:
    for row in model.rows:
        if row.tier == "standard" and row.valid_to is None:
            theirs = entry.units("standard", row.above)
            for unit, price in row.prices:
                if unit in {"input_uncached", "output"} and theirs.get(unit, 0) != price:
                    return False
    return True


def _is_dearer(entry: Entry, model: Model) -> bool:
    """Tell whether an entry's price for a token in and one out is above the model's of today."""
    units = ("input_uncached", "output")
    for row in model.rows:
        if row.tier == "standard" and row.valid_to is None and row.above == 0:
            theirs = entry.units("standard", 0)
            ours = dict(row.prices)
            return sum(theirs.get(u, 0) for u in units) > sum(ours.get(u, 0) for u in units)
    return True


def _has_more_audio(entry: Entry, model: Model) -> bool:
    theirs = {unit for _, _, unit in entry.prices}
    return bool({"audio_in", "audio_out"} & (theirs - model.units()))


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
