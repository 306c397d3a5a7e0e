"""Estimates how many tokens a text is, without a tokenizer. Pure functions over a fixed table.

A text is cut as OpenAI's tokenizers cut it before they merge: words, groups of up to three digits,
runs of punctuation, runs of white space. Each piece costs what pieces of its script and length cost
on average, and a word in Latin letters what words of its language cost: tokenizers know some
languages better than others. A language shows by its most frequent words. The averages and these
words are in `_estimate_table`, which `benchmarks/calibrate_estimator.py` writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Literal

from ._estimate_table import BYTES_PER_TOKEN, TOKENS_PER_FEATURE, WORDS_OF_LANGUAGE

Family = Literal["o200k", "cl100k", "other"]

OTHER_FAMILY_PERCENT = 113
"""Tokens of a model of another family per 100 tokens of o200k.

The median of billed input over the o200k count in 29 recorded requests of more than 2,000 tokens to
many providers (highest: 180). Their tokenizers are not published, so one model may be far off.
"""

# (first code point, last code point, class); later ranges win. ASCII white space is set below.
# A class is one ASCII character. Code points past 0xFFFF keep themselves and count as symbols.
_RANGES: tuple[tuple[int, int, str], ...] = (
    (0x0000, 0xFFFF, "e"),  # symbols, and scripts with no class of their own
    (0x0021, 0x007E, "p"),
    (0x00A0, 0x00BF, "P"),
    (0x00C0, 0x00FF, "l"),
    (0x0100, 0x024F, "x"),
    (0x0110, 0x0111, "v"),  # Vietnamese, and letters with two marks
    (0x01A0, 0x01B0, "v"),
    (0x0300, 0x036F, "v"),
    (0x1E00, 0x1EFF, "v"),
    (0x0370, 0x03FF, "g"),
    (0x0400, 0x052F, "u"),  # Cyrillic outside the Russian alphabet
    (0x0410, 0x044F, "c"),
    (0x0590, 0x05FF, "h"),
    (0x0600, 0x06FF, "r"),
    (0x0750, 0x077F, "r"),
    (0xFB50, 0xFDFF, "r"),
    (0xFE70, 0xFEFE, "r"),
    (0x0900, 0x097F, "d"),
    (0x0530, 0x058F, "i"),  # Armenian, and below the other Indic scripts to Georgian, Khmer
    (0x0980, 0x0DFF, "i"),
    (0x0E80, 0x10FF, "i"),
    (0x1200, 0x137F, "i"),
    (0x1780, 0x17FF, "i"),
    (0x0E00, 0x0E7F, "t"),
    (0x1100, 0x11FF, "k"),
    (0xAC00, 0xD7AF, "k"),
    (0x3040, 0x30FF, "j"),
    (0x31F0, 0x31FF, "j"),
    (0x3400, 0x9FFF, "z"),
    (0xF900, 0xFAFF, "z"),
    (0x2010, 0x205E, "P"),
    (0x3000, 0x303F, "P"),
    (0x30FB, 0x30FB, "P"),
    (0xFF01, 0xFF0F, "P"),
    (0xFF1A, 0xFF20, "P"),
    (0x0030, 0x0039, "0"),
    (0x0041, 0x005A, "A"),
    (0x0061, 0x007A, "a"),
    (0x0009, 0x0009, "T"),
    (0x000A, 0x000A, "n"),
    (0x000D, 0x000D, "n"),
    (0x0020, 0x0020, " "),
)
_GERMANIC = "ÄÅÆÖØÜßäåæöøü"
_TRADITIONAL = (  # frequent Chinese characters that neither simplified Chinese nor Japanese has
    "這個們來說會對過還沒為與實當樣應該兩將從後經錢覺讓關點發國學產訊體證賣貿鍵號碼擇"
)
_SCRIPTS: Mapping[str, str] = {
    "g": "greek",
    "c": "cyrillic",
    "u": "cyrillic",
    "h": "hebrew",
    "r": "arabic",
    "d": "devanagari",
    "i": "indic",
    "t": "thai",
    "k": "hangul",
}

_ACCENTED: Mapping[str, str] = {
    "l": "accented letters",
    "w": "germanic letters",
    "x": "extended latin letters",
    "v": "vietnamese letters",
}

_LATIN = r"[alvwx]+|A+[alvwx]*"
_LETTERS = _LATIN + r"|[cu]+|[jyz]+|g+|h+|r+|d+|i+|t+|k+"
_PIECE = re.compile(  # no alternative starts with something optional: `re` then skips it at once
    rf"{_LATIN}|[ TpP](?:{_LETTERS})|0{{1,3}}|[pP]+n*| [pP]+n*|{_LETTERS}"
    r"|[ Tn]+n|n|[ T]+(?![^ T])|[ T]|(?:[^ -~]|e)+"
)
_WORD = re.compile(r"\b[a-z\u00df-\u024f\u1e00-\u1eff]{2,}\b")

ENGLISH = "English"
NO_LANGUAGE = ""
_LETTERS_PER_FREQUENT_WORD = 150
"""A text with fewer frequent words than one per so many letters is in no language: data, code."""

_O200K = re.compile(
    r"(?:^|[/.:])(?:gpt-?(?!35)(?:4o|4\.\d|[5-9]|[1-9]\d|oss)|o\d(?!\d)|chatgpt|codex)"
)
_CL100K = re.compile(r"(?:^|[/.:])(?:gpt-?(?:4|3\.?5)|text-embedding-(?:3|ada-002))")


def estimate_tokens(texts: Sequence[str], *, model: str) -> int:
    """Estimate how many tokens texts are for a model; nothing is added for roles or templates.

    The pieces of one stream should be joined first: each text is cut by itself. It is an estimate,
    never a bound; the measured error is in `docs/reference/estimates.md`.

    Args:
        texts: Texts of one call, in any order. An empty text counts nothing.
        model: The model's name as called; it selects the family of tokenizers.

    Returns:
        0 if all texts are empty, else at least 1 and at most the texts' UTF-8 bytes.
    """
    size_bytes = sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
    if not size_bytes:
        return 0
    family = family_of(model)
    vocabulary = "o200k" if family == "other" else family
    tokens = 0.0
    for text in texts:
        language = language_of(text)
        for shape, count in cut(text).items():
            tokens += count * _shape_cost(shape, language=language, vocabulary=vocabulary)
    return _clip(tokens, family=family, size_bytes=size_bytes)


def estimate_input_tokens(input_bytes: int, *, model: str) -> int:
    """Estimate the input tokens of a request of which only the size is known.

    Args:
        input_bytes: UTF-8 bytes of the request's strings, media not included; 0 or more.
        model: The model's name as called; it selects the family of tokenizers.

    Returns:
        0 for 0 bytes, else at least 1 and at most `input_bytes`. Expect an error of 5 to 25 % for
        prose in Latin letters, code and JSON; twice the truth for Cyrillic, Thai and Indic
        scripts; half of it for tables and logs; a third for base64 and other encoded data.

    Raises:
        ValueError: The size is negative.
    """
    if input_bytes < 0:
        raise ValueError(f"input_bytes is {input_bytes}; a size is 0 or more")
    if not input_bytes:
        return 0
    family = family_of(model)
    vocabulary = "o200k" if family == "other" else family
    return _clip(input_bytes / BYTES_PER_TOKEN[vocabulary], family=family, size_bytes=input_bytes)


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """Name the family of tokenizers from a model's name; prefixes such as `openai/` may stay."""
    name = model.lower()
    if _O200K.search(name):
        return "o200k"
    return "cl100k" if _CL100K.search(name) else "other"


def cut(text: str) -> Counter[str]:
    """Count the shapes of a text's pieces."""
    return Counter(_PIECE.findall(text.translate(_CLASSES)))


def words_of(text: str) -> Counter[str]:
    """Count a text's words in small Latin letters, of two letters and more."""
    return Counter(_WORD.findall(text.lower()))


def language_of(text: str, languages: Mapping[str, Sequence[str]] | None = None) -> str:
    """Name the language in Latin letters whose frequent words a text has most, or `NO_LANGUAGE`.

    Args:
        text: Any text.
        languages: Languages by frequent word, as `index_words` returns them; default: the table's.
    """
    known = _LANGUAGES_OF_WORD if languages is None else languages
    found: Counter[str] = Counter()
    for word, count in words_of(text).items():
        for language in known.get(word, ()):
            found[language] += count
    language = max(found, key=lambda name: found[name], default=NO_LANGUAGE)
    is_enough = found[language] * _LETTERS_PER_FREQUENT_WORD >= len(text)
    return language if is_enough else NO_LANGUAGE


def index_words(words_of_language: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the languages of each word, given each language's words separated by spaces."""
    found: dict[str, tuple[str, ...]] = {}
    for language, words in words_of_language.items():
        for word in words.split():
            found[word] = (*found.get(word, ()), language)
    return found


def shape_features(shape: str, *, language: str) -> dict[str, int]:
    """Describe one piece by the counts its cost is linear in; keys are those of the table."""
    last = shape[-1]
    body = shape.lstrip(" TpP")
    if not body:
        return _blank(shape) if last in " T" else _punctuation(shape)
    if last == "n":
        return _punctuation(shape.rstrip("n")) if shape.strip(" Tn") else {"break": 1}
    if last == "0":
        return {"digits": 1}
    prefix = shape[: len(shape) - len(body)]
    if last in "alvwxA":
        return _latin(prefix, body, language=language)
    if last in "jyz":
        kana, traditional = body.count("j"), body.count("y")
        return {
            "east asian": 1,
            "kana": kana,
            "han": len(body) - kana,
            "traditional han": traditional,
        }
    name = _SCRIPTS.get(last, "symbol")
    found = {name: 1, f"{name} letters": len(body)}
    if name != "symbol":
        found |= _past(name, len(body), 4)
    if "u" in body:
        found["other cyrillic letters"] = body.count("u")
    return found


def _latin(prefix: str, body: str, *, language: str) -> dict[str, int]:
    length = len(body)
    if length > 1 and body[-1] == "A":
        found = {"capitals": 1, **_past("capitals", length, 2, 4)}
    else:
        found = _word(body, language=language)
    for mark, name in _ACCENTED.items():
        if mark in body:
            found[f"{language} {name}".lstrip()] = body.count(mark)
    if not prefix:
        found |= {"bare word": 1, **_past("bare word", length, 1, 2, 3, 5)}
    elif prefix != " ":
        found["word after a mark"] = 1
    return found


def _word(body: str, *, language: str) -> dict[str, int]:
    name = f"{language} word".lstrip()
    limits = (3, 5, 8, 12) if language in {ENGLISH, NO_LANGUAGE} else (4, 8)
    found = {name: 1, **_past(name, len(body), *limits)}
    capitals = len(body) - len(body.lstrip("A"))
    if capitals > 1:
        found["capitals before a word"] = capitals - 1
    elif capitals and language == NO_LANGUAGE:
        found["capitalised word"] = 1
    return found


def _punctuation(shape: str) -> dict[str, int]:
    marks = shape.strip(" ")
    return {
        "punctuation": 1,
        "wide marks": marks.count("P"),
        **_past("punctuation", len(marks), 1, 2, 4),
    }


def _blank(shape: str) -> dict[str, int]:
    return {"blank": 1, **_past("blank", len(shape), 20)}


def _past(name: str, length: int, *limits: int) -> dict[str, int]:
    return {f"{name} past {limit}": length - limit for limit in limits if length > limit}


@lru_cache(maxsize=8192)
def _shape_cost(shape: str, *, language: str, vocabulary: str) -> float:
    weights = TOKENS_PER_FEATURE[vocabulary]
    found = shape_features(shape, language=language)
    return sum(count * weights.get(name, 0.0) for name, count in found.items())


def _clip(tokens: float, *, family: Family, size_bytes: int) -> int:
    if family == "other":
        tokens = tokens * OTHER_FAMILY_PERCENT / 100
    return min(size_bytes, max(1, round(tokens)))


def _class_table() -> str:
    classes = [""] * 0x10000
    for first, last, name in _RANGES:
        classes[first : last + 1] = [name] * (last + 1 - first)
    for letter in _GERMANIC:
        classes[ord(letter)] = "w"
    for letter in _TRADITIONAL:
        classes[ord(letter)] = "y"
    return "".join(classes)


_CLASSES = _class_table()
_LANGUAGES_OF_WORD = index_words(WORDS_OF_LANGUAGE)
