"""FastAPI with Scaleway in LangChain: stream an answer to the browser, and stop the model when the reader leaves.

``python examples/fastapi_stream/app.py`` serves a page at http://127.0.0.1:8000. If you press Stop or close the tab,
the stream to the service closes at once, and the model stops.

It calls the real service if ``SCW_SECRET_KEY`` is set. Without a key it starts a stand-in on this machine that answers
from a script: ``pip install 'linkspan[langchain,sandbox]' fastapi``.
"""

from __future__ import annotations

import argparse
import json
import os
from contextlib import ExitStack, aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from fastapi import FastAPI
from fastapi.responses import FileResponse, StreamingResponse
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel, Field

from linkspan.errors import LinkspanError
from linkspan.langchain import ChatScaleway

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.types import Receive, Scope, Send

MODEL = "llama-3.3-70b-instruct"
PAGE = Path(__file__).with_name("page.html")


class Question(BaseModel):
    """The page's request. It is a body, because URLs end up in logs and questions do not belong there."""

    question: str = Field(min_length=1, max_length=2000)


class EventResponse(StreamingResponse):
    """Server-sent events whose source is always closed, whether the answer is complete or the reader has left.

    Starlette cancels the answer when the browser leaves. That ends a generator that waits for the model; one that
    waits for the browser would be left to the garbage collector.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer (ASGI)."""
        async with aclosing(cast("AsyncGenerator[Any, None]", self.body_iterator)):
            await super().__call__(scope, receive, send)


def create_app(chat: ChatScaleway) -> FastAPI:
    """Return the application."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Connections belong to an event loop: close them before it ends.
        async with chat:
            yield

    app = FastAPI(lifespan=lifespan)
    chain = ChatPromptTemplate([("system", "Answer passengers of a ferry."), ("human", "{question}")]) | chat

    @app.get("/")
    async def page() -> FileResponse:
        return FileResponse(PAGE)

    @app.post("/ask")
    async def ask(asked: Question) -> EventResponse:
        # The second header keeps nginx from buffering the answer.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return EventResponse(events(chain, asked.question), media_type="text/event-stream", headers=headers)

    return app


async def events(chain: Any, question: str) -> AsyncIterator[str]:
    """Yield the answer's pieces, then its usage or the error."""
    taken = None
    try:
        async with aclosing(chain.astream({"question": question})) as pieces:
            async for piece in pieces:
                taken = piece.usage_metadata or taken
                if piece.text:
                    yield event("piece", text=piece.text)
    except LinkspanError as error:
        yield event("failed", error=type(error).__name__, retryable=error.is_retryable)
        return
    yield event("done", output_tokens=taken["output_tokens"] if taken else None)


def event(name: str, **data: Any) -> str:
    """Return a server-sent event. JSON has no line breaks, which would end the event early."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def main() -> None:
    """Serve the page."""
    parser = argparse.ArgumentParser(description="Stream answers to a browser.")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    arguments = parser.parse_args()
    with ExitStack() as stack:
        where = {} if os.environ.get("SCW_SECRET_KEY") else start_sandbox(stack)
        chat = ChatScaleway(model=MODEL, max_tokens=1000, stream_usage=True, **where)
        uvicorn.run(create_app(chat), host="127.0.0.1", port=arguments.port)


def start_sandbox(stack: ExitStack) -> dict[str, str]:
    """Start the stand-in and return the arguments that connect to it."""
    from linkspan_sandbox import Reply, Rule, run  # noqa: PLC0415  # needed only without a key

    # At a model's pace, so that the stream is visible.
    story = "The ferry to Ostra leaves at nine. " + "And then the sea, and nothing but the sea. " * 20
    sandbox = stack.enter_context(run(rules=[Rule(Reply(story.strip(), pause=0.05))]))
    return {"base_url": sandbox.scaleway_url, "api_key": sandbox.api_key}


if __name__ == "__main__":
    main()
