"""What vLLM refuses, over recordings: each is its own error in both frameworks, and holds neither key nor prompt.

Scaleway's gateway words some of these differently (403 for a wrong key, its own bodies): what it is documented to say
is in ``test_scaleway.py``. Here are the answers that the engine itself gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.llms import ChatMessage

from linkspan import errors
from linkspan.langchain import ScalewayEmbeddings
from linkspan.langchain.errors import (
    AuthenticationError,
    ContextOverflowError,
    InvalidRequestError,
    NotFoundError,
)
from tests.cassettes.constructors import chat_model, connection, llm

if TYPE_CHECKING:
    from tests.cassettes.tape import Tape

pytestmark = [
    pytest.mark.recorded_from("vllm-chat"),
    pytest.mark.never_live("these are the engine's own answers, not the gateway's"),
]

SECRET_WORD = "Rumpelstilzchen"
#: More than the 2048 tokens that the server here takes.
LONG = f"{SECRET_WORD} " + "to be or not to be " * 400
WRONG_KEY = "11111111-0000-4000-8000-000000000000"


def check(error: Any, tape: Tape) -> None:
    assert error.status_code == tape.status
    assert error.provider == "scaleway"
    assert error.body == tape.body
    for shown in (str(error), repr(error), str(error.body)):
        assert tape.key not in shown
        assert WRONG_KEY not in shown
        assert SECRET_WORD not in shown
    assert not error.is_retryable


def test_langchain_context_too_long(tape: Tape) -> None:
    with pytest.raises(ContextOverflowError, match="maximum context length is 2048") as caught:
        chat_model(tape).invoke(LONG)
    check(caught.value, tape)


async def test_langchain_context_too_long_streamed_async(tape: Tape) -> None:
    """A stream that is refused before it begins answers as any other call."""
    with pytest.raises(ContextOverflowError) as caught:
        [chunk async for chunk in chat_model(tape).astream(LONG)]
    check(caught.value, tape)


def test_langchain_answer_longer_than_the_window(tape: Tape) -> None:
    """No shorter prompt would help, so it is no overflow."""
    with pytest.raises(InvalidRequestError, match="max_tokens=3000") as caught:
        chat_model(tape, max_tokens=3000).invoke("Hello")
    check(caught.value, tape)
    assert not isinstance(caught.value, ContextOverflowError)


def test_llama_index_context_too_long(tape: Tape) -> None:
    with pytest.raises(errors.ContextOverflowError) as caught:
        llm(tape).chat([ChatMessage(content=LONG)])
    check(caught.value, tape)


def test_langchain_no_such_model(tape: Tape) -> None:
    with pytest.raises(NotFoundError, match="no-such-model") as caught:
        chat_model(tape, model="no-such-model").invoke("Hello")
    check(caught.value, tape)
    assert caught.value.status_code == 404


async def test_llama_index_no_such_model_streamed_async(tape: Tape) -> None:
    with pytest.raises(errors.NotFoundError, match="no-such-model") as caught:
        async for _ in await llm(tape, model="no-such-model").astream_chat([ChatMessage(content="Hello")]):
            pass
    check(caught.value, tape)


def test_langchain_wrong_key(tape: Tape) -> None:
    """The body is ``{"error": "Unauthorized"}``: a text where other errors have an object."""
    with pytest.raises(AuthenticationError, match="Unauthorized") as caught:
        chat_model(tape, api_key=WRONG_KEY).invoke("Hello")
    check(caught.value, tape)
    assert caught.value.status_code == 401


async def test_llama_index_wrong_key_async(tape: Tape) -> None:
    with pytest.raises(errors.AuthenticationError, match="Unauthorized") as caught:
        await llm(tape, api_key=WRONG_KEY).achat([ChatMessage(content="Hello")])
    check(caught.value, tape)


def test_langchain_value_out_of_range(tape: Tape) -> None:
    with pytest.raises(InvalidRequestError, match="temperature") as caught:
        chat_model(tape, temperature=-1, model=tape.model).invoke("Hello")
    check(caught.value, tape)


def test_langchain_unknown_route(tape: Tape) -> None:
    """A server that chats does not embed: ``{"detail": "Not Found"}``."""
    with pytest.raises(NotFoundError, match="Not Found") as caught:
        ScalewayEmbeddings(**connection(tape)).embed_query("Hello")
    check(caught.value, tape)
