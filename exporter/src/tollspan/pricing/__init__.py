"""What a call costs, and can cost at most: the price book, in exact integers."""

from ._rating import PriceLine
from ._store import BookInfo, inspect_book, newer_book, store_book
from ._yaml import parse_overrides, read_overrides
from .book import PriceBook
from .listing import PriceList, PriceRow
from .overrides import NO_OVERRIDES, Overrides

__all__ = [
    "NO_OVERRIDES",
    "BookInfo",
    "Overrides",
    "PriceBook",
    "PriceLine",
    "PriceList",
    "PriceRow",
    "inspect_book",
    "newer_book",
    "parse_overrides",
    "read_overrides",
    "store_book",
]
