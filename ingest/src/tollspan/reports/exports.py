"""Reads what providers say that they billed: the CSV exports of OpenAI, Anthropic and AWS.

Each gives lines of a day (UTC), a model and an exact amount. A line that can't be read raises an
error that names it; columns that nobody needs here are passed over, as providers add some.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Final, Literal, NoReturn

import msgspec

from tollspan.usage import ConfigError

ExportFormat = Literal["openai", "anthropic", "aws"]
_AMOUNT: Final = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,200})?(?:[eE][+-]?[0-9]{1,5})?")
_MOST_SHOWN: Final = 60
_MOST_FIELD: Final = 1 << 20
_SMALLEST_EXPONENT: Final = -60
_LARGEST_EXPONENT: Final = 15


class BilledLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a provider's bill.

    Attributes:
        line: Its number in the file.
        day: UTC, ISO.
        model: As the provider writes it; `""` for what is of no model, or where it does not say.
        what: What was billed, in the provider's words.
        amount_usd: Exactly as it is there. May be negative: a credit.
    """

    line: int
    day: str
    model: str
    what: str
    amount_usd: Decimal


class _Row:
    """One row of a CSV file, with what is needed to complain of it."""

    def __init__(self, source: str, line: int, values: Mapping[str, str]) -> None:
        self.source = source
        self.line = line
        self.values = values

    def text(self, *names: str) -> str:
        """Return the first of these columns that the file has, without spaces around it."""
        return next((self.values[name].strip() for name in names if name in self.values), "")

    def day(self, name: str) -> str:
        """Return the day of a date or time: `2026-11-28`, `2026-11-28T00:00:00Z`."""
        said = self.text(name)
        try:
            return date.fromisoformat(said[:10]).isoformat()
        except ValueError:
            self.wrong(name, said, "a date such as 2026-11-28")

    def amount(self, name: str) -> Decimal:
        """Return an amount, exactly."""
        said = self.text(name)
        if not _AMOUNT.fullmatch(said):
            self.wrong(name, said, "an amount such as 1.25")
        amount = Decimal(said)
        if not amount:
            return Decimal(0)  # `0E-6176`, as one provider writes it
        if not _SMALLEST_EXPONENT <= amount.adjusted() < _LARGEST_EXPONENT:
            self.wrong(name, said, "an amount such as 1.25")
        return amount

    def usd(self, name: str) -> None:
        """Check that a currency, where one is named, is USD."""
        said = self.text(name)
        if said.upper() not in {"", "USD"}:
            self.wrong(name, said, "USD: other currencies can't be compared")

    def wrong(self, name: str, said: str, expected: str) -> NoReturn:
        raise ConfigError(
            f"{self.source}:{self.line}: {name} is {said[:_MOST_SHOWN]!r}; expected {expected}"
        )


def read_export(
    lines: Iterable[str], form: ExportFormat, *, source: str = "the export"
) -> Iterator[BilledLine]:
    """Yield the billed lines of a CSV export, one after the other.

    Args:
        lines: The file's text; opened with `newline=""`, so that line ends in fields hold.
        form: Whose export it is.
        source: The file's name for messages.

    Raises:
        ConfigError: The file is no such export, or a line is wrong; the text names it.
    """
    needed, name, read = _FORMS[form]
    for row in _rows(lines, source, needed, name):
        found = read(row)
        if found is not None:
            yield found


def _rows(
    lines: Iterable[str], source: str, needed: tuple[str, ...], name: Callable[[str], str]
) -> Iterator[_Row]:
    csv.field_size_limit(_MOST_FIELD)
    reader = csv.reader(lines, strict=True)
    try:
        header = [name(column) for column in next(reader, ())]
        _check_header(header, source, needed)
        for values in reader:
            if not any(values):
                continue
            if len(values) != len(header):
                raise ConfigError(
                    f"{source}:{reader.line_num}: has {len(values)} fields; "
                    f"expected {len(header)}, as in its first line"
                )
            yield _Row(source, reader.line_num, dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise ConfigError(f"{source}:{reader.line_num}: is no CSV: {error}") from None


def _check_header(header: list[str], source: str, needed: tuple[str, ...]) -> None:
    missing = [column for column in needed if column not in header]
    if missing:
        shown = ", ".join(header)[: 4 * _MOST_SHOWN] or "none"
        raise ConfigError(
            f"{source}:1: has no column {', '.join(missing)}; its columns are {shown}"
        )
    twice = [column for column in needed if header.count(column) > 1]
    if twice:
        raise ConfigError(f"{source}:1: has the column {twice[0]} twice; expected it once")


def _plain(column: str) -> str:
    return column.strip().removeprefix("\ufeff").lower()


def _openai(row: _Row) -> BilledLine | None:
    """Of the costs' export; days without any cost have a line whose amount is empty."""
    if not row.text("amount_value"):
        return None
    row.usd("amount_currency")
    said = row.text("line_item")
    item, comma, _ = said.rpartition(", ")
    model = re.sub(r" (?:audio|image|text|video)$", "", item.rpartition(" | ")[2])
    return BilledLine(
        line=row.line,
        day=row.day("start_time_iso"),
        model=model if comma else "",
        what=said,
        amount_usd=row.amount("amount_value"),
    )


def _anthropic(row: _Row) -> BilledLine:
    """Of the console's cost page."""
    what = row.text("token_type") or row.text("cost_type")
    return BilledLine(
        line=row.line,
        day=row.day("usage_date_utc"),
        model=row.text("model"),
        what=what,
        amount_usd=row.amount("cost_usd"),
    )


# `USE1-Claude4.5Haiku-input-tokens-cross-region-global`: region, model, what is measured.
_BILLING_REGION: Final = re.compile(r"^[A-Z]{2,4}[0-9]?-")
_MEASURE: Final = re.compile(
    r"-(?:mantle|(?:text-|image-|audio-|video-|speech-)?(?:input|output)|cache-(?:read|write)"
    r"|search-units|created-image|custom|Provisioned).*$"
)
_EDITION: Final = " (Amazon Bedrock Edition)"


def _aws_name(column: str) -> str:
    """Name a column as CUR 2.0 does: `lineItem/UsageType` is `line_item_usage_type`."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", _plain_case(column)).lower()
    return text.replace("/", "_").replace("__", "_")


def _plain_case(column: str) -> str:
    return column.strip().removeprefix("\ufeff")


def _aws(row: _Row) -> BilledLine | None:
    """Of a Cost and Usage Report: what Bedrock's usage cost; other services, taxes, credits not."""
    product = " ".join(
        (row.text("line_item_product_code"), row.text("product_product_name"), row.text("product"))
    )
    if "Bedrock" not in product or row.text("line_item_line_item_type") not in {"", "Usage"}:
        return None
    row.usd("line_item_currency_code")
    usage_type = row.text("line_item_usage_type")
    sold = row.text("product_product_name")
    if sold.endswith(_EDITION):
        model = sold.removesuffix(_EDITION)
    else:
        bare = _BILLING_REGION.sub("", usage_type)
        model, count = _MEASURE.subn("", bare)
        model = model if count else ""
    return BilledLine(
        line=row.line,
        day=row.day("line_item_usage_start_date"),
        model=model,
        what=usage_type,
        amount_usd=row.amount("line_item_unblended_cost"),
    )


_Form = tuple[tuple[str, ...], Callable[[str], str], Callable[[_Row], BilledLine | None]]
_FORMS: Final[dict[ExportFormat, _Form]] = {
    "openai": (("start_time_iso", "amount_value"), _plain, _openai),
    "anthropic": (("usage_date_utc", "model", "cost_usd"), _plain, _anthropic),
    "aws": (
        (
            "line_item_usage_start_date", "line_item_unblended_cost", "line_item_usage_type",
            "line_item_product_code",
        ),
        _aws_name,
        _aws,
    ),
}  # fmt: skip
PROVIDERS: Final[dict[ExportFormat, str]] = {
    "openai": "openai",
    "anthropic": "anthropic",
    "aws": "aws.bedrock",
}
"""Whose events an export is compared with, as in `gen_ai.provider.name`."""
