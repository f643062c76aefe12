"""Query and chat engines over all four APIs: sync, async and streamed; one event per call, and the server's counts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import Document, Settings, SummaryIndex
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler

from linkspan.conversation import Usage
from linkspan.llama_index import DataCrunch, GraySwan, LLMEngine, Scaleway
from linkspan_sandbox import LLMEngineOptions, Reply, Sandbox
from linkspan_sandbox.conformance.llama_index.events import watched

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = "key-of-the-end-to-end-tests"
MODES = ["compact", "refine", "tree_summarize", "simple_summarize", "accumulate", "compact_accumulate"]
#: Core streams none of these.
NOT_STREAMED = {"accumulate", "compact_accumulate"}
DOCUMENTS = [Document(text="The linkspan of Ostra is 60 metres long."), Document(text="The ferry has two decks.")]
ANSWER = "60 metres"
#: Two words and the token that ends them, for the API that counts by itself.
COUNTED = Usage(11, 3, 14)

PROVIDERS: dict[str, Callable[..., Any]] = {
    "scaleway": lambda sandbox, **more: Scaleway(model="llama-3.3-70b-instruct", base_url=sandbox.scaleway_url, **more),
    "gray swan": lambda sandbox, **more: GraySwan(base_url=sandbox.gray_swan_url, **more),
    "llm engine": lambda sandbox, **more: LLMEngine(model="llama-2-7b", base_url=sandbox.llm_engine_url, **more),
    "datacrunch": lambda sandbox, **more: DataCrunch(model="mixtral", base_url=sandbox.datacrunch_url, **more),
}


@pytest.fixture
def sandbox_settings() -> dict[str, Any]:
    return {"llm_engine_options": LLMEngineOptions(stream_counts=True)}


@pytest.fixture
def sandbox(sandbox: Sandbox) -> Sandbox:
    sandbox.add_rule(Reply(ANSWER, usage=COUNTED))
    return sandbox


class Watch:
    """What LlamaIndex's own handlers see; engines put the global manager into their LLM."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.counter = TokenCountingHandler(tokenizer=str.split)
        self.debug = LlamaDebugHandler(print_trace_on_end=False)
        patch.setattr(Settings, "callback_manager", CallbackManager([self.counter, self.debug]))

    def assert_of(self, calls: int, events: list[str], *, counted: bool = True) -> None:
        starts = [name for name in events if name in {"LLMChatStartEvent", "LLMCompletionStartEvent"}]
        ends = [name for name in events if name in {"LLMChatEndEvent", "LLMCompletionEndEvent"}]
        assert len(starts) == len(ends) == calls
        assert len(self.debug.get_event_pairs(CBEventType.LLM)) == calls
        assert len(self.counter.llm_token_counts) == calls
        if counted:
            assert self.counter.prompt_llm_token_count == 11 * calls
            assert self.counter.completion_llm_token_count == 3 * calls


async def asked(engine: Any, llm: Any, *, streaming: bool) -> list[str]:
    """Ask an engine in its async way."""
    try:
        answer = await engine.aquery("How long is it?")
        return [piece async for piece in answer.response_gen] if streaming else [str(answer)]
    finally:
        await llm.aclose()


# How a mode puts its calls is core's work, and the same for all chat models, as for all prompt models. The other model
# of either kind is tried with one call and with two.
@pytest.mark.parametrize(
    ("provider", "mode"),
    [
        *(("scaleway", mode) for mode in MODES),
        *(("gray swan", mode) for mode in MODES[:2]),
        *(("llm engine", mode) for mode in MODES),
        *(("datacrunch", mode) for mode in MODES[:2]),
    ],
)
def test_query_modes(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, provider: str, mode: str) -> None:
    index = SummaryIndex.from_documents(DOCUMENTS)
    for streaming in [False] if mode in NOT_STREAMED else [False, True]:
        for is_async in [False, True]:
            with PROVIDERS[provider](sandbox, api_key=KEY, max_retries=0) as llm:
                watch = Watch(monkeypatch)
                engine = index.as_query_engine(llm=llm, response_mode=mode, streaming=streaming)
                sandbox.requests.clear()
                with watched() as (events, _):
                    if is_async:
                        pieces = asyncio.run(asked(engine, llm, streaming=streaming))
                    else:
                        answer = engine.query("How long is it?")
                        pieces = list(answer.response_gen) if streaming else [str(answer)]
            assert ANSWER in "".join(pieces)
            # Each of the two nodes takes a call in these modes.
            assert len(sandbox.requests) == (2 if mode in {"refine", "accumulate"} else 1)
            # Gray Swan's streams count nothing.
            streams = any(request.json.get("stream") for request in sandbox.requests)
            watch.assert_of(len(sandbox.requests), events, counted=not (provider == "gray swan" and streams))
            # Asked at once, the calls come in any order.
            assert any("Ostra" in request.content.decode() for request in sandbox.requests)


@pytest.mark.parametrize("provider", list(PROVIDERS))
@pytest.mark.parametrize("way", ["chat", "achat", "stream_chat", "astream_chat"])
def test_a_chat_engine_in_two_turns(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, provider: str, way: str) -> None:
    index = SummaryIndex.from_documents(DOCUMENTS)
    with PROVIDERS[provider](sandbox, api_key=KEY, max_retries=0) as llm:
        watch = Watch(monkeypatch)
        engine = index.as_chat_engine(chat_mode="condense_plus_context", llm=llm)

        async def talk() -> list[str]:
            said = []
            for question in ("How long is it?", "And the ferry?"):
                answer = await getattr(engine, way)(question)
                said.append(
                    "".join([piece async for piece in answer.async_response_gen()]) if "stream" in way else str(answer)
                )
            await llm.aclose()
            return said

        with watched() as (events, _):
            if way.startswith("a"):
                said = asyncio.run(talk())
            else:
                said = []
                for question in ("How long is it?", "And the ferry?"):
                    answer = getattr(engine, way)(question)
                    said.append("".join(answer.response_gen) if "stream" in way else str(answer))
    assert said == [ANSWER, ANSWER]
    # The answers, and between them one call that makes a question of its own out of the second one.
    assert len(sandbox.requests) == 3
    streams = any(request.json.get("stream") for request in sandbox.requests)
    watch.assert_of(3, events, counted=not (provider == "gray swan" and streams))
    last = sandbox.last_request.content.decode()
    assert "How long is it?" in last
    assert "And the ferry?" in last
