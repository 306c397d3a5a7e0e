"""What a span says of a request beyond its price: parameters and ids, each of its type; no text."""

from __future__ import annotations

import pytest

from tollspan.instrumentation._details import read_details, readers

OPENAI, ANTHROPIC = readers("openai"), readers("anthropic")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        pytest.param({"temperature": 1}, {"gen_ai.request.temperature": 1.0}, id="a whole number"),
        pytest.param({"temperature": True}, {}, id="a boolean is no number"),
        pytest.param({"temperature": None}, {}, id="nothing given"),
        pytest.param({"temperature": object()}, {}, id="an SDK's word for nothing given"),
        pytest.param({"top_p": 0.5}, {"gen_ai.request.top_p": 0.5}, id="top_p"),
        pytest.param({"top_k": 40}, {"gen_ai.request.top_k": 40.0}, id="top_k is a double"),
        pytest.param({"seed": 7}, {"gen_ai.request.seed": 7}, id="seed"),
        pytest.param({"seed": "7"}, {}, id="a seed that is none"),
        pytest.param({"stop": "END"}, {"gen_ai.request.stop_sequences": ["END"]}, id="one stop"),
        pytest.param(
            {"stop_sequences": ["A", 1, "B"]},
            {"gen_ai.request.stop_sequences": ["A", "B"]},
            id="several stops",
        ),
        pytest.param({"stop": []}, {}, id="no stop"),
        pytest.param(
            {"response_format": {"type": "json_schema", "json_schema": {"name": "secret"}}},
            {"gen_ai.output.type": "json"},
            id="a schema is not told",
        ),
        pytest.param(
            {"response_format": {"type": "text"}}, {"gen_ai.output.type": "text"}, id="text"
        ),
        pytest.param({"response_format": {"type": "odd"}}, {}, id="an unknown format"),
        pytest.param(
            {"text": {"format": {"type": "json_object"}}},
            {"gen_ai.output.type": "json"},
            id="the format of a response",
        ),
        pytest.param({"text": {"verbosity": "low"}}, {}, id="no format of a response"),
        pytest.param(
            {"output_config": {"format": {"type": "json_schema"}}},
            {"gen_ai.output.type": "json"},
            id="the format of a message",
        ),
        pytest.param(
            {"modalities": ["text", "audio"]}, {"gen_ai.output.type": "speech"}, id="speech"
        ),
        pytest.param({"modalities": ["text"]}, {}, id="text goes without saying"),
        pytest.param(
            {"reasoning": {"effort": "low"}},
            {"gen_ai.request.reasoning.level": "low"},
            id="the effort of a response",
        ),
        pytest.param(
            {"reasoning_effort": "high"}, {"gen_ai.request.reasoning.level": "high"}, id="effort"
        ),
        pytest.param(
            {"conversation": "conv_1"}, {"gen_ai.conversation.id": "conv_1"}, id="conversation"
        ),
        pytest.param(
            {"conversation": {"id": "conv_1"}},
            {"gen_ai.conversation.id": "conv_1"},
            id="conversation as an object",
        ),
        pytest.param(
            {"previous_response_id": "resp_1"},
            {"gen_ai.request.previous_response.id": "resp_1"},
            id="previous response",
        ),
        pytest.param(
            {"dimensions": 256, "encoding_format": "float"},
            {
                "gen_ai.embeddings.dimension.count": 256,
                "gen_ai.request.encoding_formats": ["float"],
            },
            id="vectors",
        ),
        pytest.param(
            {"service_tier": "flex"}, {"openai.request.service_tier": "flex"}, id="service tier"
        ),
        pytest.param({"service_tier": "auto"}, {}, id="auto goes without saying"),
        pytest.param(
            {"messages": [{"content": "hi"}], "prompt": "hi", "input": "hi", "user": "u"},
            {},
            id="content is never told",
        ),
    ],
)
def test_a_detail_is_read(body: dict[str, object], expected: dict[str, object]) -> None:
    found = read_details(body, OPENAI)
    assert found == expected
    assert {name: type(value) for name, value in found.items()} == {
        name: type(value) for name, value in expected.items()
    }


def test_anthropics_tier_is_told_by_the_answer_alone() -> None:
    assert read_details({"service_tier": "standard_only"}, ANTHROPIC) == {}
