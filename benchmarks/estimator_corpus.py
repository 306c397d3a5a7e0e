"""Texts that calibrate and measure `tollspan.usage.estimate`: shipped in packages, or made here.

Needs Python's own library and the packages faker, django, sphinx, wagtail, wordfreq and justext,
of which only the text and the frequencies are read. Nothing is downloaded.
"""

from __future__ import annotations

import base64
import importlib.metadata
import itertools
import json
import random
import re
import sys
import sysconfig
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics

from faker import Faker

# Text type -> locale names of Django's catalogues and of faker's generators.
LANGUAGES: Mapping[str, tuple[str, ...]] = {
    "German": ("de", "de_DE"),
    "French": ("fr", "fr_FR"),
    "Spanish": ("es", "es_ES"),
    "Portuguese": ("pt_BR", "pt_BR"),
    "Italian": ("it", "it_IT"),
    "Dutch": ("nl", "nl_NL"),
    "Polish": ("pl", "pl_PL"),
    "Czech": ("cs", "cs_CZ"),
    "Swedish": ("sv", ""),
    "Finnish": ("fi", ""),
    "Hungarian": ("hu", ""),
    "Turkish": ("tr", ""),
    "Indonesian": ("id", ""),
    "Vietnamese": ("vi", "vi_VN"),
    "Russian": ("ru", "ru_RU"),
    "Ukrainian": ("uk", "uk_UA"),
    "Greek": ("el", "el_GR"),
    "Arabic": ("ar", "ar_AA"),
    "Persian": ("fa", "fa_IR"),
    "Hebrew": ("he", "he_IL"),
    "Hindi": ("hi", ""),
    "Bengali and Tamil": ("bn ta", "bn_BD"),
    "Thai": ("th", "th_TH"),
    "Korean": ("ko", ""),
    "Japanese": ("ja", "ja_JP"),
    "Chinese": ("zh_Hans zh_Hant", "zh_CN zh_TW"),
}

HAS_OWN_WORDS = frozenset(
    (
        *("de_DE", "fr_FR", "es_ES", "nl_NL", "pl_PL", "cs_CZ", "ru_RU", "uk_UA", "el_GR"),
        *("ar_AA", "fa_IR", "he_IL", "th_TH", "vi_VN", "zh_CN", "zh_TW", "it_IT", "bn_BD"),
    )
)
"""Locales for which faker makes sentences of the language's own words, not of Latin ones."""


def documents() -> Iterator[tuple[str, str, str]]:
    """Yield (text type, document name, text); names decide who calibrates and who measures."""
    yield from _english()
    yield from _code()
    yield from _generated()
    for kind, (locales, fakers) in LANGUAGES.items():
        for locale in locales.split():
            paths = [
                path
                for package in ("django", "wagtail")
                for path in sorted(_package(package).rglob(f"locale/{locale}/LC_MESSAGES/*.po"))
            ]
            messages = list(dict.fromkeys(m for path in paths for m in _messages(path)))
            for start in range(0, len(messages), 80):
                yield kind, f"messages/{start}/{locale}", " ".join(messages[start : start + 80])
        for locale in fakers.split():
            yield from _faker_texts(locale)
        if kind != "Thai":  # the one language without a list of frequencies
            for locale in locales.split():
                yield from _sampled_prose(kind, locale)
    yield from _sampled_prose("English", "en")


def _english() -> Iterator[tuple[str, str, str]]:
    for name, text in sorted(topics.items()):
        yield "English", f"topic/{name}", re.sub(r"\n(?!\n)", " ", text)
    for package in ("django", "sphinx", "faker"):
        for path in sorted(_package(package).rglob("*.py"))[:400]:
            source = path.read_text("utf-8", "replace")
            prose = re.findall(r'"""([A-Z][^"]{200,})"""', source)
            yield "English", f"doc/{package}/{path.name}", "\n".join(prose)
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        yield "Markdown", f"readme/{name}", str(found.metadata.json.get("description", ""))


def _code() -> Iterator[tuple[str, str, str]]:
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py")) + sorted(library.glob("asyncio/*.py")):
        yield "Python", path.name, path.read_text("utf-8", "replace")
    for path in sorted(Path(sysconfig.get_path("include")).rglob("*.h")):
        yield "C", path.name, path.read_text("utf-8", "replace")
    for package in ("django", "sphinx"):
        for suffix, kind in (
            (".js", "JavaScript"),
            (".html", "HTML and CSS"),
            (".css", "HTML and CSS"),
        ):
            for path in sorted(_package(package).rglob(f"*{suffix}")):
                if not re.search(r"\.min\.|stemmer|/locale/|/i18n/", path.as_posix()):
                    yield kind, path.name, path.read_text("utf-8", "replace")


def _generated() -> Iterator[tuple[str, str, str]]:
    fake = Faker("en_US")
    fake.seed_instance(7)
    rng = random.Random(7)
    for number in range(120):
        records = [_record(fake, rng) for _ in range(12)]
        indent = rng.choice((None, None, 2, 4))
        yield "JSON", f"json/{number}", json.dumps(records, indent=indent)
        yield "English", f"fake/{number}", "\n\n".join(fake.paragraphs(6, ext_word_list=None))
        yield "Logs", f"logs/{number}", "\n".join(_log_line(fake, rng) for _ in range(30))
        blob = rng.randbytes(2_000)
        yield "base64", f"base64/{number}", base64.b64encode(blob).decode()
        yield (
            "Hex and UUIDs",
            f"hex/{number}",
            "\n".join(
                str(uuid.UUID(bytes=rng.randbytes(16))) if number % 2 else rng.randbytes(16).hex()
                for _ in range(60)
            ),
        )
        yield "Emoji chat", f"emoji/{number}", " ".join(_emoji_words(fake, rng) for _ in range(200))
        yield (
            "CSV",
            f"csv/{number}",
            "\n".join(
                f"{n},{fake.name()},{fake.date()},{rng.random() * 1e4:.2f},{fake.city()}"
                for n in range(60)
            ),
        )


def _record(fake: Faker, rng: random.Random) -> dict[str, object]:
    return {
        "id": f"call_{rng.getrandbits(64):x}",
        "type": rng.choice(("function", "message", "tool_result", "reasoning")),
        "created_at": rng.randrange(1_600_000_000, 1_900_000_000),
        "name": fake.name(),
        "email": fake.email(),
        "is_active": rng.random() < 0.5,
        "arguments": json.dumps({"location": fake.city(), "limit": rng.randrange(50)}),
        "content": [{"type": "text", "text": fake.sentence(rng.randrange(4, 25))}],
        "score": round(rng.random(), rng.randrange(2, 9)),
        "tags": fake.words(rng.randrange(4)),
        "parent_id": None,
        "address": {"street": fake.street_address(), "zipCode": fake.postcode()},
    }


def _log_line(fake: Faker, rng: random.Random) -> str:
    level = rng.choice(("INFO", "WARNING", "ERROR", "DEBUG"))
    stamp = fake.date_time().isoformat(timespec="milliseconds")
    return (
        f"{stamp} {level} [{fake.word()}.{fake.word()}] {fake.ipv4()} GET /{fake.uri_path()} "
        f"status={rng.choice((200, 204, 404, 500))} duration_ms={rng.random() * 900:.3f} "
        f"request_id={uuid.UUID(bytes=rng.randbytes(16))} {fake.sentence(5)}"
    )


def _emoji_words(fake: Faker, rng: random.Random) -> str:
    if rng.random() < 0.6:
        return fake.word()
    emoji = _EMOJI if rng.random() < 0.25 else _COMMON_EMOJI
    return "".join(rng.choice(emoji) for _ in range(rng.choice((1, 1, 1, 2, 3))))


_COMMON_EMOJI = "😂🤣😊😍😭😘😅😁🙏🔥👍💕🥰😉😎🎉✨💯🙌👏🤔😢👀💪🌹😆🤗💙😋🎶💀🚀✅⭐⚡☀🍕🎂☕📈"


_EMOJI = [
    chr(point)
    for first, last in (
        (0x1F300, 0x1F64F),
        (0x1F680, 0x1F6C5),
        (0x1F90D, 0x1F9FF),
        (0x2600, 0x26FF),
    )
    for point in range(first, last)
    if unicodedata.name(chr(point), "")
]


def _faker_texts(locale: str) -> Iterator[tuple[str, str, str]]:
    fake = Faker(locale)
    fake.seed_instance(11)
    for number in range(6):
        lines = [f"{fake.name()}, {fake.address()}. {fake.company()}." for _ in range(40)]
        text = " ".join(lines).replace("\n", " ")
        yield "Names and addresses", f"fake/{locale}/{number}", text
    if locale in HAS_OWN_WORDS:
        for number in range(8):
            yield "Random words", f"lorem/{locale}/{number}", " ".join(fake.sentences(30))


def _sampled_prose(kind: str, locale: str) -> Iterator[tuple[str, str, str]]:
    """Draw words as often as a language uses them: right in words, not in what they say."""
    language = locale.partition("_")[0]
    if locale == "zh_Hant":  # the list is in simplified characters
        return
    frequencies = _frequencies(language)
    words = [word for word in itertools.islice(frequencies, 20_000) if not word.isdigit()]
    joint = "" if language in {"ja", "zh"} else " "
    comma, stop = ("、" if language == "ja" else "\uff0c", "。") if not joint else (", ", ". ")
    rng = random.Random(language)
    weights = list(itertools.accumulate(frequencies[word] for word in words))
    for number in range(24):
        text = ""
        for _ in range(30):
            drawn = rng.choices(words, cum_weights=weights, k=rng.randrange(6, 24))
            half = len(drawn) // 2
            text += joint.join(drawn[:half]).capitalize() + comma + joint.join(drawn[half:]) + stop
        yield kind, f"drawn/{language}/{number}", text


def _frequencies(language: str) -> Mapping[str, float]:
    if language == "ko":  # wordfreq has parts of Korean words, justext whole ones in order of use
        listed = (_package("justext") / "stoplists/Korean.txt").read_text("utf-8").split()
        return {word: 1 / (rank + 3) for rank, word in enumerate(listed)}
    import wordfreq

    return wordfreq.get_frequency_dict(language, wordlist="best")


def _messages(path: Path) -> Iterator[str]:
    for block in re.findall(
        r'^msgstr(?:\[\d\])? ((?:"[^\n]*"\n)+)', path.read_text("utf-8") + "\n", re.M
    ):
        text = "".join(json.loads(line.replace("\\'", "'")) for line in block.splitlines())
        if text and "Content-Type:" not in text:
            yield text


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"{name} is not installed; see the first lines of this file")
    return Path(found.submodule_search_locations[0])
