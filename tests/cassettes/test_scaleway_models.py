"""The list of models in both frameworks over recordings of vLLM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cassettes.constructors import chat_model, llm

if TYPE_CHECKING:
    from linkspan.providers.chat_completions.models import ListedModel
    from tests.cassettes.tape import Tape

pytestmark = pytest.mark.recorded_from("vllm-chat")

#: It is not asked for anything.
ANY = "no-such-model"


def check(models: list[ListedModel], tape: Tape) -> None:
    rows = tape.body["data"]
    assert [(model.id, model.owned_by, model.created) for model in models] == [
        (row["id"], row["owned_by"], row["created"]) for row in rows
    ]
    assert rows


def test_langchain_list(tape: Tape) -> None:
    check(chat_model(tape, model=ANY).list_models(), tape)


async def test_langchain_list_async(tape: Tape) -> None:
    check(await chat_model(tape, model=ANY).alist_models(), tape)


def test_llama_index_list(tape: Tape) -> None:
    check(llm(tape, model=ANY).list_models(), tape)
