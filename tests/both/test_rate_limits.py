"""What answers and errors say of rate limits, by every class of both frameworks."""

from __future__ import annotations

import asyncio
import pickle
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkspan.errors import LinkspanError, RateLimitError
from linkspan.langchain import ChatScaleway, ScalewayEmbeddings
from linkspan.llama_index import Scaleway, ScalewayEmbedding
from linkspan.rate_limits import rate_limit_of
from linkspan_sandbox import Cut, HTTPError, Reply, run
from tests.both.subjects import READERS, SUBJECTS, VECTORS, Server, Subject

HEADERS = {
    "x-ratelimit-limit-requests": "600",
    "X-RateLimit-Remaining-Requests": "599",
    "x-ratelimit-reset-requests": "250ms",
    "x-ratelimit-reset-tokens": "1m30s",
    "ratelimit-policy": "10;w=60",
    "x-request-id": "r",
}
SAID = {
    "limit_requests": 600,
    "remaining_requests": 599,
    "reset_requests_ms": 250,
    "reset_tokens_ms": 90_000,
    "policy": "10;w=60",
}

every = pytest.mark.parametrize("subject", [*SUBJECTS, *VECTORS, *READERS], ids=lambda subject: subject.id)
every_model = pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.id)


class LimitedServer(Server):
    """Says in each answer how its limits stand."""

    status = 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = super().__call__(request)
        content = answer.content if self.status == 200 else b'{"message": "slow down"}'
        return httpx.Response(self.status, content=content, headers=HEADERS)


def _said_by(subject: Subject, model: Any) -> Any:
    if subject.framework == "llama_index":
        return model.complete("hi").additional_kwargs.get("rate_limit")
    if subject.kind == "prompt":
        return model.generate(["hi"]).generations[0][0].generation_info.get("rate_limit")
    return model.invoke("hi").response_metadata.get("rate_limit")


@every_model
def test_an_answer_says_it(subject: Subject, server: Server) -> None:
    assert _said_by(subject, subject.make(LimitedServer())) == SAID
    assert _said_by(subject, subject.make(server)) is None


@every
def test_an_error_says_it(subject: Subject) -> None:
    server = LimitedServer()
    server.status = 429
    with pytest.raises(LinkspanError) as caught:
        subject.ask(subject.make(server))
    assert isinstance(caught.value, RateLimitError)
    assert caught.value.rate_limit == SAID
    assert pickle.loads(pickle.dumps(caught.value)).rate_limit == SAID


def test_embeddings_say_it() -> None:
    for subject in VECTORS:
        if subject.kind == "embedding":
            assert subject.make(LimitedServer()).embed(["hi"]).rate_limit == SAID


def sum_of(pieces: list[Any]) -> Any:
    whole = pieces[0]
    for piece in pieces[1:]:
        whole += piece
    return whole


def test_streams_say_it_once_and_broken_ones_too() -> None:
    with run() as sandbox:
        given_ = {"model": "qwen3.8-27b", "api_key": "any-key", "base_url": sandbox.scaleway_url}
        chat, llm = ChatScaleway(**given_), Scaleway(**given_)
        pieces = list(chat.stream("one two three"))
        assert len([piece for piece in pieces if "rate_limit" in piece.response_metadata]) == 1
        whole = sum_of(pieces)
        # As a program does that adds up all that an agent says.
        assert (whole + sum_of(list(chat.stream("four")))).content == "one two threefour"
        *_, last = llm.stream_complete("one two three")

        async def streamed() -> Any:
            return [piece async for piece in chat.astream("one two")][-1]

        ends = (whole.response_metadata, last.additional_kwargs, asyncio.run(streamed()).response_metadata)
        assert all(one["rate_limit"]["limit_requests"] == 100_000 for one in ends)
        sandbox.add_rule(Reply("one two three", fault=Cut(after=2)))
        with pytest.raises(LinkspanError) as caught:
            list(chat.stream("anything"))
        assert (caught.value.rate_limit or {})["limit_requests"] == 100_000
        sandbox.reset()
        sandbox.add_rule(Reply(fault=HTTPError(429)), route="embeddings")
        for embeddings in (ScalewayEmbeddings, ScalewayEmbedding):
            with pytest.raises(LinkspanError) as caught:
                embeddings(**{**given_, "model": "qwen3-embedding-8b", "max_retries": 0}).embed(["a"])
            assert caught.value.rate_limit


@given(st.text(max_size=30), st.text(alphabet="0123456789hms.-", max_size=30))
@settings(max_examples=60)
def test_any_header_is_read(name: str, value: str) -> None:
    said = rate_limit_of({f"x-ratelimit-{name}": value, "other": value})
    assert said is None or all(isinstance(one, (int, str)) for one in said.values())
