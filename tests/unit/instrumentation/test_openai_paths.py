"""Which requests of the SDK may cost money."""

from __future__ import annotations

import pytest

from tollspan.instrumentation.openai._paths import billable_path

BILLABLE = (
    "/chat/completions", "/completions", "/responses", "/responses/compact", "/embeddings",
    "/audio/speech", "/audio/transcriptions", "/audio/translations", "/images/generations",
    "/images/edits", "/images/variations", "/videos", "/videos/video_1/remix", "/batches",
    "/fine_tuning/jobs", "/fine_tuning/alpha/graders/run", "/threads/runs",
    "/threads/thread_abc123/runs", "/threads/thread_abc123/runs/run_1/submit_tool_outputs",
    "/evals/eval_1/runs", "/containers", "/vector_stores/vs_1/search", "/realtime/client_secrets",
    "/realtime/sessions", "/agents/sessions", "/nobody/knows", "/", "",
)  # fmt: skip
FREE = (
    "/files", "/uploads", "/uploads/upload_1/parts", "/moderations", "/models/m/anything",
    "/vector_stores", "/vector_stores/vs_1", "/vector_stores/vs_1/files", "/threads",
    "/threads/thread_abc123", "/threads/thread_abc123/messages", "/assistants", "/conversations",
    "/conversations/conv_1/items", "/batches/batch_1/cancel", "/responses/input_tokens",
    "/responses/resp_1/cancel", "/chat/completions/chatcmpl-1", "/fine_tuning/jobs/ftjob-1/cancel",
    "/organization/projects", "/skills", "moderations", "files?purpose=batch",
)  # fmt: skip


@pytest.mark.parametrize("path", BILLABLE)
def test_a_post_that_is_not_known_to_be_free_may_cost_money(path: str) -> None:
    assert billable_path("post", path) is not None
    assert billable_path("POST", f"{path}?beta=true") is not None


@pytest.mark.parametrize("path", FREE)
def test_management_is_free(path: str) -> None:
    assert billable_path("post", path) is None


@pytest.mark.parametrize("method", ["get", "GET", "delete", "put", "patch", "head"])
def test_only_posts_cost_money(method: str) -> None:
    assert billable_path(method, "/chat/completions") is None


def test_another_host_is_never_known_to_be_free() -> None:
    assert billable_path("post", "https://gateway.example/v1/files") == "/{id}/files"


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/threads/thread_abc123/runs", "/threads/{id}/runs"),
        ("/fine_tuning/alpha/graders/run", "/fine_tuning/alpha/graders/run"),
        ("/deployments/My Secret Name/chat/completions", "/deployments/{id}/chat/completions"),
        ("/evals/eval_68/runs?key=secret", "/evals/{id}/runs"),
    ],
)
def test_ids_and_queries_are_not_shown(path: str, shown: str) -> None:
    assert billable_path("post", path) == shown
