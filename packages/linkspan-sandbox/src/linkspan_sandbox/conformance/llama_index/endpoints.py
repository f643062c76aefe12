"""Points 1 to 6 and 30 to 33: what the eight endpoints return."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock
from llama_index.core.llms import LLM, CustomLLM
from llama_index.core.llms.function_calling import FunctionCallingLLM

from linkspan_sandbox import Reply
from linkspan_sandbox.conformance.llama_index.base import (
    CHAT_STREAMS,
    CHAT_WAYS,
    STREAMS,
    WAYS,
    LLMSuite,
    Script,
    ask,
    each,
    last,
    text_of,
)
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["EndpointTests"]

PIECES = ["Grüße", " from", " the", " linkspan", " 🚢"]
TEXT = "".join(PIECES)


class EndpointTests(LLMSuite):
    """What the eight endpoints return."""

    def test_bases_and_flags(self, make: Callable[..., Any]) -> None:
        """Point 1: an ``LLM`` with its own async methods (not a ``CustomLLM``), and accurate metadata."""
        llm = make()
        assert isinstance(llm, LLM)
        assert not isinstance(llm, CustomLLM)
        assert llm.metadata.is_chat_model is self.is_chat_model
        assert llm.metadata.is_function_calling_model is self.supports_tools
        assert isinstance(llm, FunctionCallingLLM) or not self.supports_tools
        assert llm.class_name() == type(llm).class_name() != LLM.class_name()

    @needs("import_path")
    def test_the_public_module_exports_it(self, make: Callable[..., Any]) -> None:
        """Point 1: it can be imported from LlamaIndex's namespace, and is in ``__all__``."""
        module = importlib.import_module(str(self.import_path))
        name = type(make()).__name__
        assert getattr(module, name) is type(make())
        assert name in module.__all__

    @each(WAYS)
    def test_every_endpoint_gives_the_text(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 2: all eight endpoints return the same text."""
        script.reply(Reply(PIECES))
        assert text_of(last(make(), way)) == TEXT
        assert script.requests == 1

    @each(STREAMS)
    def test_deltas_make_up_the_text(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 3: the deltas are strings and add up to the final text; each chunk has the text so far."""
        script.reply(Reply(PIECES))
        so_far = ""
        chunks = ask(make(), way)
        for chunk in chunks:
            assert isinstance(chunk.delta, str)
            so_far += chunk.delta
            assert text_of(chunk) == so_far
        assert so_far == TEXT
        assert len(chunks) >= len(PIECES)

    @each(CHAT_STREAMS)
    def test_one_text_block_that_grows(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 4: each chunk has one ``TextBlock`` with the text so far, since core joins blocks with line breaks."""
        script.reply(Reply(PIECES))
        for chunk in ask(make(), way):
            assert len([block for block in chunk.message.blocks if isinstance(block, TextBlock)]) <= 1
        (block,) = [block for block in chunk.message.blocks if isinstance(block, TextBlock)]
        assert block.text == TEXT

    @each(STREAMS)
    def test_streams_are_generators(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 5: streams are generators, which core's callbacks require."""
        script.reply(Reply(PIECES))
        llm = make()
        subject: Any = "x"
        if way.endswith("chat"):
            subject = [ChatMessage("x")]
        if way.startswith("a"):

            async def check() -> None:
                stream = await getattr(llm, way)(subject)
                assert isinstance(stream, AsyncGenerator)
                await stream.aclose()

            asyncio.run(check())
        else:
            stream = getattr(llm, way)(subject)
            assert isinstance(stream, Generator)
            stream.close()

    @each(STREAMS)
    def test_an_empty_answer_yields_once(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 6: core fails at a completion stream without any chunk."""
        script.reply(Reply(""))
        chunks = ask(make(), way)
        assert chunks
        assert text_of(chunks[-1]) == ""

    # ------------------------------------------------------------------ further details of an answer

    @needs("supports_reasoning")
    @each(CHAT_STREAMS)
    @pytest.mark.parametrize(
        "field",
        [
            pytest.param("reasoning", marks=needs(lambda suite: "reasoning" in suite.reasoning_fields)),
            pytest.param("reasoning_content", marks=needs(lambda suite: "reasoning_content" in suite.reasoning_fields)),
        ],
    )
    def test_streamed_reasoning_is_whole(self, make: Callable[..., Any], script: Script, way: str, field: str) -> None:
        """Point 30: reasoning is kept from the first piece, in ``thinking_delta`` and a block, under either name."""
        deltas = [{"role": "assistant", field: "First,"}, {field: " second."}, {"content": "Yes."}]
        script.reply(Reply(events=self.stream_of(deltas, "stop")))
        chunks = ask(make(), way)
        thought = "".join(chunk.additional_kwargs.get("thinking_delta") or "" for chunk in chunks)
        assert thought == "First, second."
        _assert_thought(chunks[-1], "First, second.", "Yes.")

    @needs("supports_reasoning")
    @each(("chat", "achat"))
    def test_reasoning_is_a_block(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 30: reasoning is a ``ThinkingBlock`` before the text."""
        script.reply(Reply("Yes.", reasoning="First, second."))
        _assert_thought(last(make(), way), "First, second.", "Yes.")

    @needs("think_tag_settings")
    @each(CHAT_WAYS)
    def test_think_tags_are_parted_from_the_text(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 30: ``<think>`` text does not leak into the content, where agents and parsers would fail on it."""
        script.reply(Reply(["<th", "ink>First,", " second.</thi", "nk>", "Yes", "."]))
        _assert_thought(last(make(**(self.think_tag_settings or {})), way), "First, second.", "Yes.")

    @needs("logprob_options")
    @each(WAYS)
    def test_log_probabilities(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 31: log probabilities of all tokens, in chat and completions, streamed or not."""
        script.reply(Reply(PIECES))
        responses = ask(make(), way, **(self.logprob_options or {}))
        tokens = [place[0].token for response in responses for place in response.logprobs or ()]
        assert "".join(tokens).removesuffix("</s>") == TEXT

    @needs("reports_finish_reason")
    @each(WAYS)
    def test_finish_reason(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 32: ``additional_kwargs`` shows that an answer was cut."""
        script.reply(Reply(PIECES))
        response = last(make(max_tokens=2), way)
        assert text_of(response) == "".join(PIECES[:2])
        assert response.additional_kwargs["finish_reason"] == "length"

    @each(WAYS)
    def test_a_call_beats_the_instance(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 33: a call's parameters override the instance's, for that call."""
        script.reply(Reply("ok"))
        settings = {"max_tokens": 50, "temperature": 0.5}
        ask(make(**settings), way, max_tokens=7, temperature=0.25)
        ask(make(**settings), way)
        first, second = script.calls
        assert (first.max_tokens, first.parameters["temperature"]) == (7, 0.25)
        assert (second.max_tokens, second.parameters["temperature"]) == (50, 0.5)


def _assert_thought(response: Any, thought: str, text: str) -> None:
    blocks = response.message.blocks
    assert [block.content for block in blocks if isinstance(block, ThinkingBlock)] == [thought]
    assert isinstance(blocks[0], ThinkingBlock)
    assert text_of(response) == text
