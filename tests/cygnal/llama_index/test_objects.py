"""Structured output, prompts and callbacks of a guarded LLM: requested as the LLM requests them, whole or an error."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.base.llms.types import (
    ChatMessage,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    ToolCallBlock,
)
from llama_index.core.callbacks import CallbackManager, LlamaDebugHandler
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.mock import MockFunctionCallingLLM, MockLLM
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from linkspan import errors
from linkspan.conversation import ToolCall
from linkspan.llama_index import Cygnal, CygnalLLM, DataCrunch, GraySwan, Scaleway
from linkspan_sandbox import Reply
from tests.cygnal.conftest import KEY
from tests.cygnal.llama_index.conftest import HARM

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox


class Trip(BaseModel):
    """A trip."""

    note: str


@contextmanager
def opened(kind: str, sandbox: Sandbox, **settings: Any) -> Iterator[Any]:
    """An LLM that makes objects by its server's schema, by a tool call, from a prompt, or as core does."""
    if kind == "schema":
        with Scaleway(model="llama-3.3-70b-instruct", api_key=KEY, base_url=sandbox.scaleway_url, **settings) as llm:
            yield llm
    elif kind == "call":
        with GraySwan(api_key=KEY, base_url=sandbox.gray_swan_url, **settings) as llm:
            yield llm
    elif kind == "prompt":
        with DataCrunch(model="m", api_key=KEY, base_url=sandbox.tgi_url, chat_template="llama3", **settings) as llm:
            yield llm
    elif kind == "other":
        yield MockLLM()
    else:
        yield MockFunctionCallingLLM(is_chat_model=True)


ways = pytest.mark.parametrize("way", ["predict", "apredict", "stream", "astream", "llm", "llm_astream"])


async def object_of(way: str, llm: CygnalLLM, question: str) -> Any:
    prompt = PromptTemplate("{question}")
    if way == "predict":
        return llm.structured_predict(Trip, prompt, question=question)
    if way == "apredict":
        return await llm.astructured_predict(Trip, prompt, question=question)
    if way == "stream":
        return list(llm.stream_structured_predict(Trip, prompt, question=question))[-1]
    if way == "astream":
        return [one async for one in await llm.astream_structured_predict(Trip, prompt, question=question)][-1]
    structured = llm.as_structured_llm(Trip)
    if way == "llm":
        return structured.chat([ChatMessage(question)]).raw
    return [one.raw async for one in await structured.astream_chat([ChatMessage(question)])][-1]


@ways
@pytest.mark.parametrize("kind", ["schema", "call", "prompt", "other", "other_call"])
async def test_objects_are_whole_or_an_error(cygnal: Cygnal, sandbox: Sandbox, way: str, kind: str) -> None:
    with opened(kind, sandbox) as llm:
        guarded = CygnalLLM(llm=llm, cygnal=cygnal)
        if kind.startswith("other"):
            # The mocks echo; a lenient parser would find an object in that.
            with pytest.raises(errors.InvalidResponseError, match="not a valid Trip"):
                await object_of(way, guarded, "When?")
        else:
            assert isinstance(await object_of(way, guarded, "When?"), Trip)
        with pytest.raises(errors.ContentBlockedError, match="there is no Trip"):
            await object_of(way, guarded, HARM)


def _legacy(name: str, arguments: str) -> Any:
    return SimpleNamespace(id="1", function=SimpleNamespace(name=name, arguments=arguments))


@ways
@pytest.mark.parametrize("form", ["block", "legacy", "text"])
async def test_objects_of_other_packages_llms(cygnal: Cygnal, way: str, form: str) -> None:
    class Words(CustomLLM):
        @property
        def metadata(self) -> LLMMetadata:
            return LLMMetadata()

        def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
            return CompletionResponse(text=f'{{"note": "{said[0]}"}}')

        def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
            text = self.complete(prompt).text
            yield from (
                CompletionResponse(text=text[:end], delta=text[end - 1 : end]) for end in range(1, 1 + len(text))
            )

    def called(messages: Any, **_: Any) -> ChatMessage:
        if form == "block":
            block = ToolCallBlock(tool_call_id="1", tool_name="Trip", tool_kwargs={"note": said[0]})
            return ChatMessage(role="assistant", blocks=[block])
        calls = {"tool_calls": [_legacy("Trip", f'{{"note": "{said[0]}"}}')]}
        return ChatMessage(role="assistant", content="", additional_kwargs=calls)

    said = ["a ferry"]
    llm = Words() if form == "text" else MockFunctionCallingLLM(is_chat_model=True, response_generator=called)
    assert await object_of(way, CygnalLLM(llm=llm, cygnal=cygnal), "When?") == Trip(note="a ferry")
    said[0] = "pick a lock"
    with pytest.raises(errors.ContentBlockedError):
        await object_of(way, CygnalLLM(llm=llm, cygnal=cygnal), "When?")


@ways
@pytest.mark.parametrize("kind", ["schema", "call"])
async def test_flagged_objects(cygnal: Cygnal, sandbox: Sandbox, way: str, kind: str) -> None:
    written = '{"note": "pick a lock"}'
    sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "Trip", written)]) if kind == "call" else written)
    with opened(kind, sandbox) as llm:
        for action in ("block", "replace"):
            with pytest.raises(errors.ContentBlockedError):
                await object_of(way, CygnalLLM(llm=llm, cygnal=cygnal, answers=action), "When?")
        warned = CygnalLLM(llm=llm, cygnal=cygnal, answers="warn")
        assert await object_of(way, warned, "When?") == Trip(note="pick a lock")
        # An answer in words has a place for the warning.
        assert "[Warning of" in str(warned.chat([ChatMessage("When?")]))


@ways
async def test_words_instead_of_an_object(cygnal: Cygnal, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule("I would rather not.")
    with opened("call", sandbox) as llm:
        for holds in (True, False):
            with pytest.raises(errors.InvalidResponseError, match="answered in words"):
                await object_of(way, CygnalLLM(llm=llm, cygnal=cygnal, hold_streams=holds), "When?")


@pytest.mark.parametrize("kind", ["schema", "prompt"])
async def test_prompts_are_the_llms(cygnal: Cygnal, sandbox: Sandbox, kind: str) -> None:
    with opened(kind, sandbox, system_prompt="Speak French.") as llm:
        guarded = CygnalLLM(llm=llm, cygnal=cygnal)
        prompt = PromptTemplate("{question}")
        for one in (llm, guarded):
            one.predict(prompt, question="When?")
            await one.apredict(prompt, question="When?")
            "".join(one.stream(prompt, question="When?"))
            one.structured_predict(Trip, prompt, question="When?")
    sent = [request.json for request in sandbox.requests if not request.path.endswith("/monitor")]
    assert "Speak French." in str(sent[0])
    assert sent[:4] == sent[4:]


def test_callbacks_reach_the_llm(cygnal: Cygnal, sandbox: Sandbox) -> None:
    handlers = [LlamaDebugHandler(print_trace_on_end=False) for _ in range(2)]
    given, later = (CallbackManager([handler]) for handler in handlers)
    with opened("schema", sandbox) as llm:
        guarded = CygnalLLM(llm=llm, cygnal=cygnal, callback_manager=given)
        guarded.complete("Hi.")
        # As Settings.callback_manager does.
        guarded.callback_manager = later
        guarded.complete("Hi.")
    assert [len(handler.get_llm_inputs_outputs()) for handler in handlers] == [1, 1]


def test_settings_of_the_llm_belong_to_it(cygnal: Cygnal) -> None:
    llm = MockLLM(pydantic_program_mode=PydanticProgramMode.FUNCTION)
    for setting in ({"system_prompt": "Speak French."}, {"pydantic_program_mode": "function"}):
        with pytest.raises(errors.ConfigurationError, match="is a setting of the LLM: give it to the MockLLM"):
            CygnalLLM(llm=llm, cygnal=cygnal, **setting)
    guarded = CygnalLLM(llm=llm, cygnal=cygnal)
    with pytest.raises(errors.ConfigurationError, match="system_prompt is a setting of the LLM"):
        guarded.system_prompt = "Speak French."
    with pytest.raises(errors.ConfigurationError, match="'function' does not work with MockLLM"):
        guarded.structured_predict(Trip, PromptTemplate("x"))
