"""Point 29: structured output."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan_sandbox import Call, Reply
from linkspan_sandbox.conformance.llama_index.base import LLMSuite, Script
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StructuredOutputTests"]


class Song(BaseModel):
    """A song."""

    title: str
    year: int


SONG = Song(title="Over the sea", year=1974)
ANSWER = '{"title": "Over the sea", "year": 1974}'
SYSTEM = "You know all songs."

_VARIANTS = ["structured_predict", "astructured_predict", "stream_structured_predict", "astream_structured_predict"]
_MODES = {
    "default": PydanticProgramMode.DEFAULT,
    "function": PydanticProgramMode.FUNCTION,
    "text": PydanticProgramMode.LLM,
}


class StructuredOutputTests(LLMSuite):
    """Answers as objects."""

    @pytest.mark.parametrize("variant", _VARIANTS)
    @pytest.mark.parametrize("mode", ["default", pytest.param("function", marks=needs("supports_tools")), "text"])
    def test_structured_output(self, make: Callable[..., Any], script: Script, mode: str, variant: str) -> None:
        """Point 29: all four variants, by the server's schema, a function or the prompt, keep the system prompt."""
        script.reply(_song)
        llm = make(pydantic_program_mode=_MODES[mode], system_prompt=SYSTEM)
        objects = _objects(llm, variant)
        assert objects[-1] == SONG
        assert all(isinstance(partial, BaseModel) for partial in objects)
        (call,) = script.calls
        asked = call.prompt if call.prompt is not None else str(call.messages)
        assert asked.count(SYSTEM) == 1
        assert "ferries" in asked
        if mode == "default" and self.supports_json_schema:
            # However the class makes its API enforce the schema.
            assert call.guide or call.response_format or call.forced_tool
        if mode == "function":
            assert call.forced_tool == "Song"

    def test_partial_objects_grow(self, make: Callable[..., Any], script: Script) -> None:
        """Point 29: a stream yields objects before its end."""
        script.reply(_song)
        assert len(_objects(make(), "stream_structured_predict")) > 1

    def test_the_prompt_is_left_alone(self, make: Callable[..., Any], script: Script) -> None:
        """Point 29: core's text programs write their parser into the prompt; a prompt can be reused."""
        script.reply(_song)
        prompt = PromptTemplate("A song about {topic}")
        make(pydantic_program_mode=PydanticProgramMode.LLM).structured_predict(Song, prompt, topic="ferries")
        assert prompt.output_parser is None

    @pytest.mark.parametrize("variant", ["chat", "stream_chat"])
    def test_as_structured_llm(self, make: Callable[..., Any], script: Script, variant: str) -> None:
        """Point 29: ``as_structured_llm`` has the object in ``raw``."""
        script.reply(_song)
        llm = make().as_structured_llm(Song)
        answer = getattr(llm, variant)([ChatMessage("A song?")])
        assert (answer if variant == "chat" else list(answer)[-1]).raw == SONG

    @pytest.mark.parametrize("variant", _VARIANTS)
    def test_an_answer_that_is_no_such_object(self, make: Callable[..., Any], script: Script, variant: str) -> None:
        """Point 29: an answer that does not fit the schema raises; it never becomes an empty object."""
        script.reply(lambda call: Reply(tool_calls=[ToolCall("a", "Song", '{"year": "?"}')]) if call.tools else "No.")
        with pytest.raises(Exception):  # noqa: B017, PT011  # each package has its own
            _objects(make(), variant)


def _song(call: Call) -> Reply | str:
    """Answer as the request requires: with a call, or in the text."""
    return Reply(tool_calls=[ToolCall("a", "Song", ANSWER)]) if call.tools else ANSWER


def _objects(llm: Any, variant: str) -> list[Any]:
    def predict() -> Any:
        return getattr(llm, variant)(Song, PromptTemplate("A song about {topic}"), topic="ferries")

    async def in_a_loop() -> list[Any]:
        try:
            result = await predict()
            return [partial async for partial in result] if "stream" in variant else [result]
        finally:
            if hasattr(llm, "aclose"):
                await llm.aclose()

    if variant.startswith("a"):
        return asyncio.run(in_a_loop())
    return list(predict()) if "stream" in variant else [predict()]
