"""What a call costs, and can cost at most: the price book, in exact integers."""

from .book import PriceBook

__all__ = ["PriceBook"]
