"""Structured output by JSON schema in both frameworks over recordings of vLLM, which holds the model to the schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from tests.cassettes.constructors import chat_model, llm

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-chat")

BERLIN = "Berlin is a city in Germany. Answer as JSON."


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    country: Literal["France", "Germany", "Norway"]


class CityDict(TypedDict):
    """A city."""

    name: str
    country: Literal["France", "Germany", "Norway"]


#: Without lengths and choices a small model may write for ever; this one is held to both.
SCHEMA: dict[str, Any] = {
    "title": "city",
    "description": "A city.",
    "type": "object",
    "properties": {
        "name": {"type": "string", "enum": ["Berlin", "Paris"]},
        "country": {"type": "string", "enum": ["France", "Germany"]},
    },
    "required": ["name", "country"],
    "additionalProperties": False,
}


def answered(tape: Tape) -> Any:
    return json.loads(tape.body["choices"][0]["message"]["content"])


def test_langchain_class(tape: Tape) -> None:
    answer = chat_model(tape).with_structured_output(City).invoke(BERLIN)
    assert answer == City(**answered(tape))
    sent = tape.request["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["schema"]["required"] == ["name", "country"]


async def test_langchain_strict_async(tape: Tape) -> None:
    model = chat_model(tape).with_structured_output(City, strict=True, include_raw=True)
    answer = await model.ainvoke(BERLIN)
    assert answer["parsing_error"] is None
    assert answer["parsed"] == City(**answered(tape))
    assert answer["raw"].text == tape.body["choices"][0]["message"]["content"]
    assert tape.request["response_format"]["json_schema"]["strict"] is True


def test_langchain_schema(tape: Tape) -> None:
    answer = chat_model(tape).with_structured_output(SCHEMA).invoke(BERLIN)
    assert answer == answered(tape)
    assert answer["name"] in SCHEMA["properties"]["name"]["enum"]
    assert tape.request["response_format"]["json_schema"]["schema"]["properties"] == SCHEMA["properties"]


def test_langchain_typed_dict(tape: Tape) -> None:
    answer = chat_model(tape).with_structured_output(CityDict).invoke(BERLIN)
    assert answer == answered(tape)
    assert set(answer) == {"name", "country"}


def test_langchain_stream(tape: Tape) -> None:
    """Every step is a whole object as far as it is known; the last is the answer."""
    steps = list(chat_model(tape).with_structured_output(SCHEMA).stream(BERLIN))
    assert len(steps) > 1
    assert steps[-1] == json.loads(tape.streamed_text)
    assert set(steps[-1]) == {"name", "country"}


def test_llama_index_structured_predict(tape: Tape) -> None:
    answer = llm(tape).structured_predict(City, PromptTemplate("{place} is a city in Germany."), place="Berlin")
    assert answer == City(**answered(tape))
    assert tape.request["response_format"]["type"] == "json_schema"


async def test_llama_index_astructured_predict(tape: Tape) -> None:
    answer = await llm(tape).astructured_predict(City, PromptTemplate("{place} is a city in Norway."), place="Oslo")
    assert answer == City(**answered(tape))


def test_llama_index_stream_structured_predict(tape: Tape) -> None:
    prompt = PromptTemplate("{place} is a city in France.")
    steps = list(llm(tape).stream_structured_predict(City, prompt, place="Paris"))
    assert len(steps) > 1
    assert steps[-1] == City(**json.loads(tape.streamed_text))


def test_llama_index_as_structured_llm(tape: Tape) -> None:
    response = llm(tape).as_structured_llm(City).chat([ChatMessage(content=BERLIN)])
    assert response.raw == City(**answered(tape))
    assert json.loads(response.message.content or "") == answered(tape)
