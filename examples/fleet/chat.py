"""An API that answers customers' questions, with OpenAI: `uvicorn chat:app`.

POST /chat takes {"question": "..."} and returns {"answer": "..."}. Its settings are those that the
SDK reads by itself: OPENAI_API_KEY, and OPENAI_BASE_URL where the provider is elsewhere.
"""

from fastapi import FastAPI, HTTPException
from openai import AsyncOpenAI
from opentelemetry import trace
from pydantic import BaseModel

app = FastAPI(title="chat")
client = AsyncOpenAI()
tracer = trace.get_tracer("chat")


class Question(BaseModel):
    question: str


class Answer(BaseModel):
    answer: str


@app.get("/healthz")
async def healthz() -> str:
    """Say that the service is there."""
    return "ok"


@app.post("/chat")
async def chat(asked: Question) -> Answer:
    """Answer a question; 503 where the model can't be asked."""
    with tracer.start_as_current_span("POST /chat", kind=trace.SpanKind.SERVER):
        try:
            done = await client.chat.completions.create(
                model="gpt-4o-mini",
                max_tokens=400,
                messages=[
                    {"role": "system", "content": "You answer the customers of a toll road."},
                    {"role": "user", "content": asked.question},
                ],
            )
        except Exception as error:
            raise HTTPException(503, f"{type(error).__name__}: {error}") from error
        return Answer(answer=done.choices[0].message.content or "")
