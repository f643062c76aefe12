"""Chunks of a stream: what validation would have made, and nothing shared between them."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.llms import ChatMessage, ChatResponse, CompletionResponse

from linkspan_sandbox import Reply

if TYPE_CHECKING:
    from linkspan.llama_index import Scaleway
    from linkspan_sandbox import Sandbox


def chunks_of(sandbox: Sandbox, llm: Scaleway, kind: str) -> list[Any]:
    sandbox.add_rule(Reply(reasoning=["Hm", "."], text=["Grüß", " dich"]))
    stream = llm.stream_chat([ChatMessage("Hello")]) if kind == "chat" else llm.stream_complete("Hello")
    return list(stream)


@pytest.mark.parametrize(("kind", "cls"), [("chat", ChatResponse), ("completion", CompletionResponse)])
def test_a_chunk_equals_the_one_that_validation_makes(
    sandbox: Sandbox, llm: Scaleway, kind: str, cls: type[Any]
) -> None:
    for chunk in chunks_of(sandbox, llm, kind):
        validated = cls.model_validate(chunk.model_dump())
        assert chunk == validated
        assert repr(chunk) == repr(validated)
        assert pickle.loads(pickle.dumps(chunk)) == chunk == copy.deepcopy(chunk)


@pytest.mark.parametrize("kind", ["chat", "completion"])
def test_a_change_of_one_chunk_leaves_the_others_alone(sandbox: Sandbox, llm: Scaleway, kind: str) -> None:
    seen = 0
    for chunk in chunks_of(sandbox, llm, kind):
        seen += 1
        places = [chunk.raw, chunk.additional_kwargs]
        places += [chunk.message.additional_kwargs] if kind == "chat" else []
        for place in places:
            assert "mark" not in place
            place["mark"] = True
        if kind == "chat":
            assert len(chunk.message.blocks) <= 2
            chunk.message.blocks.append(chunk.message.blocks[0])
    assert seen > 3
