"""Chunks that are filled in after a validated one: equal to it, and each with its own fields."""

from __future__ import annotations

from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, LogProb, MessageRole, TextBlock

from linkspan.assembler import Assembler
from linkspan.conversation import Delta, TokenLogprob
from linkspan.langchain.chunks import ChunkBuilder
from linkspan.langchain.generations import to_generation_chunk
from linkspan.llama_index.answers import ResponseBuilder


def test_a_piece_of_a_chat_equals_the_validated_chunk() -> None:
    (chunk,) = ChunkBuilder("scaleway").chunks([Delta("Hel", id="1")])
    message = AIMessageChunk(content="Hel", id="1", response_metadata={"model_provider": "scaleway"})
    assert chunk == ChatGenerationChunk(message=message)
    assert chunk.model_dump() == ChatGenerationChunk(message=message).model_dump()


def test_a_piece_with_log_probabilities_equals_the_validated_chunk() -> None:
    (chunk,) = ChunkBuilder("scaleway").chunks([Delta("Hel", id="1", logprobs=[TokenLogprob("Hel", -0.5)])])
    content = [{"token": "Hel", "logprob": -0.5, "top_logprobs": []}]
    metadata = {"model_provider": "scaleway", "logprobs": {"content": content}}
    assert chunk == ChatGenerationChunk(message=AIMessageChunk(content="Hel", id="1", response_metadata=metadata))


def test_pieces_of_a_chat_share_nothing_that_changes() -> None:
    builder = ChunkBuilder("scaleway")
    one, two = builder.chunks([Delta("a"), Delta("b")])
    one.message.name = "somebody"
    one.message.additional_kwargs["key"] = one.message.response_metadata["key"] = 1
    one.message.tool_calls.append({"name": "f", "args": {}, "id": "1", "type": "tool_call"})
    one.generation_info = {"key": 1}
    (three,) = builder.chunks([Delta("b")])
    assert two == three
    assert two.message.model_fields_set == three.message.model_fields_set
    assert two.generation_info is None


def test_what_a_piece_holds_is_kept_where_unset_fields_are_left_out() -> None:
    (chunk,) = ChunkBuilder("scaleway").chunks([Delta("Hel", id="1", reasoning="Hm")])
    assert chunk.message.model_dump(exclude_unset=True) == chunk.message.model_dump()
    assert chunk.message.model_copy(update={"name": "somebody"}).model_dump(exclude_unset=True)["name"] == "somebody"


def test_an_attribute_of_ones_own_stays_with_its_piece() -> None:
    builder = ChunkBuilder("scaleway")
    one, two = builder.chunks([Delta("a"), Delta("a")])
    one.message.mark = 1  # type: ignore[attr-defined]  # messages take any attribute
    assert one.message.model_dump(exclude_unset=True)["mark"] == 1
    assert not hasattr(two.message, "mark")
    assert "mark" not in two.message.model_dump(exclude_unset=True)


def test_a_piece_of_a_completion_equals_the_validated_chunk() -> None:
    chunk = to_generation_chunk(Delta("Hel"), Assembler(), "m")
    assert chunk == GenerationChunk(text="Hel")
    chunk.generation_info = {"key": 1}
    assert to_generation_chunk(Delta("lo"), Assembler(), "m") == GenerationChunk(text="lo")


def test_a_text_chunk_of_llama_index_equals_the_validated_one() -> None:
    builder = ResponseBuilder()
    builder.chat(Delta("Hel", id="1"))
    chunk = builder.chat(Delta("lo", id="1"))
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text="Hello")])
    validated = ChatResponse(message=message, raw={"id": "1"}, delta="lo", additional_kwargs={})
    assert chunk == validated
    assert chunk is not None
    assert chunk.model_dump() == validated.model_dump()


def test_a_text_chunk_of_llama_index_with_log_probabilities_equals_the_validated_one() -> None:
    scores = [TokenLogprob("Hel", -0.5, bytes=b"Hel", top=[TokenLogprob("Hi", -1.5)])]
    chunk = ResponseBuilder().chat(Delta("Hel", id="1", logprobs=scores))
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text="Hel")])
    row = [LogProb(token="Hel", logprob=-0.5, bytes=list(b"Hel")), LogProb(token="Hi", logprob=-1.5, bytes=[])]
    assert chunk == ChatResponse(message=message, raw={"id": "1"}, delta="Hel", logprobs=[row], additional_kwargs={})


def test_text_chunks_of_llama_index_share_nothing_that_changes() -> None:
    builder = ResponseBuilder()
    one, two = builder.chat(Delta("a")), builder.chat(Delta("b"))
    assert one is not None
    assert two is not None
    assert one.raw is not None
    one.message.additional_kwargs["key"] = one.additional_kwargs["key"] = one.raw["key"] = 1
    one.message.blocks.append(TextBlock(text="!"))
    assert two.message.content == "ab"
    assert two.message.additional_kwargs == two.additional_kwargs == {}
    assert two.raw == {"id": None}
