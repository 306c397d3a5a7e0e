"""The book as a file: what is in it, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

import tollspan.pricing
from tollspan.pricing import PriceBook
from tollspan.usage import (
    INPUT_BUCKETS,
    OUTPUT_BUCKETS,
    TOKEN_BUCKETS,
    UNITS,
    PriceBookError,
    Request,
    Response,
    Usage,
)

SHIPPED = Path(tollspan.pricing.__file__).parent / "prices.json"
NOW = 1_795_348_800_000_000_000


def test_the_shipped_book_loads_and_names_itself(book: PriceBook) -> None:
    document = json.loads(SHIPPED.read_bytes())
    assert book.book_id == document["book_id"]
    assert re.fullmatch(r"\d{8}-[0-9a-f]{12}", book.book_id)
    assert book.book_id.endswith(document["sha256"][:12])
    assert document["body"]["currency"] == "USD"


def test_the_book_says_where_its_prices_come_from() -> None:
    sources = json.loads(SHIPPED.read_bytes())["body"]["sources"]
    assert [(source["name"], source["licence"]) for source in sources] == [
        ("genai-prices", "MIT"),
        ("litellm", "MIT"),
    ]
    assert all(source["version"] and len(source["sha256"]) == 64 for source in sources)


def test_the_book_is_small() -> None:
    assert SHIPPED.stat().st_size < 1 << 20


def test_every_name_leads_to_a_model_and_every_model_has_a_name() -> None:
    for provider in json.loads(SHIPPED.read_bytes())["body"]["providers"].values():
        assert set(provider["names"].values()) == set(provider["models"])
        assert set(provider["dated"]) <= set(provider["names"])


def test_rows_are_whole_numbers_and_do_not_overlap() -> None:
    for provider in json.loads(SHIPPED.read_bytes())["body"]["providers"].values():
        for _, _, rows, *_ in provider["models"].values():
            spans: dict[tuple[object, ...], str] = {}
            assert {(row[0], row[1]) for row in rows} == {
                (row[0], row[1]) for row in rows if row[3] == 0
            }
            for tier, since, until, above, per, prices, _, *minutes in rows:
                place = (tier, above, *map(tuple, minutes))
                assert spans.get(place, "") <= (since or "")
                spans[place] = until or "9999"
                assert per >= 1
                assert prices or above  # a long context that has no price in this tier
                assert {unit.partition(":")[0] for unit in prices} <= {*TOKEN_BUCKETS, *UNITS}
                assert all(isinstance(price, int) and price >= 0 for price in prices.values())


def test_no_row_is_dearer_than_its_providers_ceiling() -> None:
    for provider in json.loads(SHIPPED.read_bytes())["body"]["providers"].values():
        for _, _, rows, *regions in provider["models"].values():
            factors = [
                f for f in (regions[0] if regions else {}).values() if not isinstance(f, str)
            ]
            for up, down in [(1, 1), *factors]:
                for _, _, _, _, per, prices, *_ in rows:
                    for bucket, price in prices.items():
                        side = "input" if bucket in INPUT_BUCKETS else "output"
                        if bucket in INPUT_BUCKETS + OUTPUT_BUCKETS:
                            assert price * up <= provider["ceiling"][f"{side}_picousd"] * per * down


def test_every_region_leads_to_a_factor_or_a_model() -> None:
    for provider in json.loads(SHIPPED.read_bytes())["body"]["providers"].values():
        for _, _, _, *regions in provider["models"].values():
            for there in (regions[0] if regions else {}).values():
                assert there in provider["models"] if isinstance(there, str) else there[1] > 0


def test_all_the_providers_that_matter_are_in_it(book: PriceBook) -> None:
    wanted = "anthropic aws.bedrock azure.ai.openai deepseek gcp.gemini gcp.vertex_ai mistral_ai"
    assert {*wanted.split(), "openai", "openrouter", "x_ai"} <= set(book.providers)
    for name in ("azure", "az.ai.inference", "bedrock", "gcp.gen_ai", "google", "xai", "mistral"):
        assert book.has_provider(name)
    assert not book.has_provider("nobody")


def test_every_openai_chat_model_of_today_has_an_output_limit() -> None:
    """One without is bounded by its context window, which is much dearer to hold."""
    models = json.loads(SHIPPED.read_bytes())["body"]["providers"]["openai"]["models"]
    current = {key for key in models if re.match(r"gpt-(4\.1|4o|5|6)|o[134]", key)}
    lacking = {key for key in current if models[key][1] is None}
    other = re.compile(
        "image|audio|realtime|transcribe|tts|cyber|rosalind|preview|extended|\\.ft|o1-mini"
    )
    assert {key for key in lacking if not other.search(key)} == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(b'"input_uncached":150000,', b'"input_uncached":150001,', id="a price"),
        pytest.param(b'"gpt-4o-mini"', b'"gpt-4o-mimi"', id="a name"),
        pytest.param(b'"currency": "USD"', b'"currency":  "USD"', id="a blank"),
    ],
)
def test_an_altered_book_is_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    data = SHIPPED.read_bytes()
    assert old in data
    path = tmp_path / "prices.json"
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(PriceBookError, match=r"prices\.json: it was altered.*compile it anew"):
        PriceBook.load(path)


def written(tmp_path: Path, **changes: object) -> Path:
    document = json.loads(SHIPPED.read_bytes()) | changes
    body = json.dumps(document.pop("body"))
    document.setdefault("sha256", "")
    if "sha256" not in changes:
        document["sha256"] = hashlib.sha256(body.encode()).hexdigest()
    if "book_id" not in changes:
        document["book_id"] = f"20261122-{document['sha256'][:12]}"
    path = tmp_path / "prices.json"
    path.write_text(json.dumps(document)[:-1] + f', "body": {body}}}')
    return path


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        pytest.param({"format": 2}, "format 2, this tollspan reads 1", id="another format"),
        pytest.param({"book_id": "20200101-000000000000"}, "its content says", id="its id"),
        pytest.param({"sha256": "0" * 64}, "it was altered", id="its hash"),
        pytest.param({"body": {"currency": "USD"}}, "missing required field", id="its content"),
        pytest.param(
            {"body": {"currency": "EUR", "date": "2026-11-22", "providers": {}, "sources": []}},
            "in EUR",
            id="another currency",
        ),
    ],
)
def test_a_book_that_is_not_ours_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(PriceBookError, match=complaint):
        PriceBook.load(written(tmp_path, **changes))


def test_a_hashed_book_with_a_broken_provider_is_refused_when_it_is_asked(tmp_path: Path) -> None:
    body = json.loads(SHIPPED.read_bytes())["body"] | {"providers": {"openai": {"names": {}}}}
    book = PriceBook.load(written(tmp_path, body=body))
    with pytest.raises(PriceBookError, match="provider openai"):
        book.bound(Request(provider="openai", operation="chat", model="gpt-4o"), NOW)


def test_a_hashed_book_with_a_missing_model_is_refused_when_it_is_asked(tmp_path: Path) -> None:
    body = json.loads(SHIPPED.read_bytes())["body"]
    del body["providers"]["openai"]["models"]["gpt-4o"]
    book = PriceBook.load(written(tmp_path, body=body))
    with pytest.raises(PriceBookError, match="model gpt-4o"):
        book.rate(
            Request(provider="openai", operation="chat", model="gpt-4o"), Response(), Usage(), NOW
        )


@pytest.mark.parametrize(
    "content", [pytest.param(b"", id="empty"), pytest.param(b"\x1f\x8b", id="not JSON")]
)
def test_what_is_no_book_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "prices.json"
    path.write_bytes(content)
    with pytest.raises(PriceBookError, match="compile it anew"):
        PriceBook.load(path)


def test_a_missing_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PriceBookError, match="No such file"):
        PriceBook.load(tmp_path / "none.json")
