"""Why answers ended, in the words of langchain-core 1.8.4 beside the API's own: whole and streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan.conversation import ToolCall
from linkspan.langchain import ChatDataCrunch, ChatGraySwan, ChatLLMEngine, ChatScaleway
from linkspan_sandbox import Reply
from tests.langchain.test_answers import WAYS, ask

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

CALL = [ToolCall("c1", "weather", "{}")]
#: What was answered, the API's own word for its end, core's words.
ANSWERS = {
    "a whole text": (Reply("Hi"), "stop", "stop", "complete"),
    "cut by the token limit": (Reply("Hi", finish_reason="length"), "length", "length", "complete"),
    "a call": (Reply(tool_calls=CALL), "tool_calls", "tool_call", "complete"),
    "a call that is said to be a stop": (Reply(tool_calls=CALL, finish_reason="stop"), "stop", "tool_call", "complete"),
    "a cut-off call": (Reply(tool_calls=CALL, finish_reason="length"), "length", "length", "complete"),
    "a filter": (Reply("Hi", finish_reason="content_filter"), "content_filter", "refusal", "complete"),
    "an unknown word": (Reply("Hi", finish_reason="repetition"), "repetition", "other", None),
}


def model_of(sandbox: Sandbox, api: str) -> Any:
    common = {"api_key": "k", "max_retries": 0}
    if api == "scaleway":
        return ChatScaleway(model="llama-3.3-70b-instruct", base_url=sandbox.scaleway_url, **common)
    if api == "gray_swan":
        return ChatGraySwan(base_url=sandbox.gray_swan_url, **common)
    if api in {"v1", "v2"}:
        template = {"chat_template": "chatml"} if api == "v1" else {}
        return ChatLLMEngine(
            model="llama-3-8b-instruct", api=api, base_url=sandbox.llm_engine_url, **template, **common
        )
    template = {"chat_template": "chatml"} if api == "generate" else {}
    return ChatDataCrunch(api=api, base_url=sandbox.tgi_url, **template, **common)


@pytest.mark.parametrize("way", WAYS)
async def test_the_word_of_the_api_is_said_in_cores_words_too(sandbox: Sandbox, way: str) -> None:
    with model_of(sandbox, "scaleway") as model:
        for case, (reply, own, normalized, state) in ANSWERS.items():
            sandbox.reset()
            sandbox.add_rule(reply)
            metadata = (await ask(model, way)).response_metadata
            assert metadata["finish_reason"] == own, case
            assert metadata["normalized_finish_reason"] == normalized, case
            assert metadata.get("finish_state") == state, case


@pytest.mark.parametrize("api", ["scaleway", "gray_swan", "v2", "messages", "generate"])
async def test_every_api_says_it(sandbox: Sandbox, api: str) -> None:
    sandbox.add_rule("Hello there")
    with model_of(sandbox, api) as model:
        for way in ("invoke", "stream"):
            for word, max_tokens in (("stop", 100), ("length", 1)):
                metadata = (await ask(model, way, max_tokens=max_tokens)).response_metadata
                said = (metadata["normalized_finish_reason"], metadata["finish_state"])
                assert said == (word, "complete"), (way, word)


@pytest.mark.parametrize("way", ["invoke", "stream"])
async def test_an_api_without_a_word_is_given_none(sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule("Hello")
    with model_of(sandbox, "v1") as model:
        metadata = (await ask(model, way)).response_metadata
    assert not metadata.keys() & {"finish_reason", "normalized_finish_reason", "finish_state"}
