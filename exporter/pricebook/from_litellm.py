"""Reads LiteLLM's price table (MIT) as data: limits, and what genai-prices lacks for OpenAI."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal

from rows import Model, Row

SOURCE = "litellm"
PROVIDERS = {
    "anthropic": "anthropic",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "deepseek": "deepseek",
    "gemini": "gcp.gemini",
    "groq": "groq",
    "mistral": "mistral_ai",
    "openai": "openai",
    "openrouter": "openrouter",
    "perplexity": "perplexity",
    "together_ai": "together",
    "xai": "x_ai",
}
# Modes whose answers are billed by tokens alone (tools apart).
TOKEN_MODES = {"chat", "completion", "embedding", "realtime", "responses"}
UNITS = {
    "input_cost_per_token": "input_uncached",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "input_cost_per_audio_token": "audio_in",
    "output_cost_per_token": "output",
    "output_cost_per_audio_token": "audio_out",
}
TIERS = {"": "standard", "batches": "batch", "flex": "flex", "priority": "priority"}
TIERS["ultrafast"] = "ultrafast"
_KEY = re.compile(
    f"({'|'.join(UNITS)})(?:_above_([0-9]+)k_tokens)?(?:_({'|'.join(filter(None, TIERS))}))?"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry of the table, its floats read as the decimals that they were written as.

    Attributes:
        prices: (tier, input tokens above which it holds, unit) → USD per million tokens.
    """

    name: str
    mode: str
    context_window: int | None
    max_output_tokens: int | None
    prices: dict[tuple[str, int, str], Decimal]

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
        """Return the prices of calls with more than `above` input tokens in one tier."""
        units: dict[str, Decimal] = {}
        for own in dict.fromkeys(("standard", tier)):
            for (named, step, unit), price in sorted(self.prices.items()):
                if named == own and step <= above:
                    units[unit] = price
        return units


def read(text: str) -> dict[str, list[Entry]]:
    """Return the entries that are priced by tokens, by provider in the semantic conventions."""
    table: dict[str, list[Entry]] = {}
    for name, raw in sorted(json.loads(text, parse_float=Decimal).items()):
        provider = PROVIDERS.get(raw.get("litellm_provider"))
        if provider is None or raw.get("mode") not in TOKEN_MODES:
            continue
        table.setdefault(provider, []).append(
            Entry(
                name=_bare(name, raw["litellm_provider"]),
                mode=raw["mode"],
                context_window=_limit(raw.get("max_input_tokens")),
                max_output_tokens=_limit(raw.get("max_output_tokens")),
                prices=_prices(raw),
            )
        )
    return table


def _bare(name: str, provider: str) -> str:
    return name.removeprefix(f"{provider}/")


def _limit(value: object) -> int | None:
    return value if isinstance(value, int) and value > 0 else None


def _prices(raw: dict[str, object]) -> dict[tuple[str, int, str], Decimal]:
    prices: dict[tuple[str, int, str], Decimal] = {}
    for key, value in raw.items():
        match = _KEY.fullmatch(key)
        if match and isinstance(value, Decimal | int) and not isinstance(value, bool):
            unit, thousands, tier = match.groups()
            place = (TIERS[tier or ""], int(thousands or 0) * 1_000, UNITS[unit])
            prices[place] = Decimal(value) * 10**6
    return prices


def add(
    book: dict[str, list[Model]],
    table: dict[str, list[Entry]],
    *,
    date: str,
    owner_of: dict[str, dict[str, str | None]],
    left_out: dict[str, str],
) -> None:
    """Add limits and names to every provider, and to OpenAI models and tiers that only LiteLLM has.

    Args:
        book: Provider → models, changed in place.
        table: What `read` returned.
        date: The day on which the table was read: its tiers hold from then on, it has no history.
        owner_of: Provider → name → key of the model that genai-prices' rules find for it.
        left_out: As in `from_genai_prices.read`.
    """
    for provider, entries in table.items():
        models = {model.key: model for model in book.get(provider, ())}
        for entry in entries:
            key = owner_of[provider].get(entry.name)
            model = None if key is None else models.get(key)
            if model is None or (provider == "openai" and _has_more_audio(entry, model)):
                if key is None or model is not None:
                    _add_model(book, provider, entry, date, left_out)
                continue
            if entry.name not in model.names and not _agree(entry, model):
                left_out[f"{provider}/{entry.name}"] = "the two sources' prices differ"
                continue
            _add_limits(model, entry)
            model.names.add(entry.name)
            if provider == "openai":
                _add_tiers(model, entry, date, left_out)


def _add_limits(model: Model, entry: Entry) -> None:
    model.context_window = _larger(model.context_window, entry.context_window)
    model.max_output_tokens = _larger(model.max_output_tokens, entry.max_output_tokens)


def _add_model(
    book: dict[str, list[Model]],
    provider: str,
    entry: Entry,
    date: str,
    left_out: dict[str, str],
) -> None:
    if provider != "openai" or "/" in entry.name:
        return
    if ("standard", 0, "input_uncached") not in entry.prices:
        left_out[f"{provider}/{entry.name}"] = "no price for input tokens"
        return
    for other in book[provider]:
        other.names.discard(entry.name)
        other.dated.discard(entry.name)
    rows = entry.rows("standard", valid_from=None)
    for tier in sorted(entry.tiers() - {"standard"}):
        rows += entry.rows(tier, valid_from=date)
    model = Model(key=entry.name, rows=rows, names={entry.name})
    _add_limits(model, entry)
    book[provider].append(model)


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


def _has_more_audio(entry: Entry, model: Model) -> bool:
    ours = {unit for row in model.rows for unit, _ in row.prices}
    theirs = {unit for _, _, unit in entry.prices}
    return bool({"audio_in", "audio_out"} & (theirs - ours))


def _larger(one: int | None, other: int | None) -> int | None:
    known = [value for value in (one, other) if value is not None]
    return max(known, default=None)
