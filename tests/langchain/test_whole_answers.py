"""Whole answers as LangChain's objects: what a server says in unusual types, and methods that a subclass replaces."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from linkspan.langchain import ChatScaleway

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COUNTS = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.fixture
def answering() -> Iterator[Callable[..., ChatScaleway]]:
    """Make a model whose server answers with one body."""
    clients = []

    def make(**body: Any) -> ChatScaleway:
        message = {"role": "assistant", "content": "Hello"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"choices": [choice], **body}))
        clients.append(httpx.Client(transport=transport, trust_env=False))
        return ChatScaleway(model="m", api_key="no-key-at-all", base_url="http://127.0.0.1:9", http_client=clients[-1])

    yield make
    for client in clients:
        client.close()


@pytest.mark.parametrize(
    ("body", "identity", "counts"),
    [
        ({"id": "one", "usage": COUNTS}, "one", (3, 4, 7)),
        ({"id": 17, "usage": COUNTS}, "17", (3, 4, 7)),
        ({"id": "one", "usage": {**COUNTS, "prompt_tokens": 3.0, "total_tokens": "7"}}, "one", (3, 4, 7)),
        ({"id": "one", "usage": {**COUNTS, "total_tokens": None}}, "one", (3, 4, 7)),
    ],
)
def test_ids_and_counts_have_langchains_types(
    answering: Callable[..., ChatScaleway], body: dict[str, Any], identity: str, counts: tuple[int, int, int]
) -> None:
    message = answering(**body).invoke("x")
    assert message.id == identity
    usage = message.usage_metadata
    assert usage is not None
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == counts
    assert {type(count) for count in usage.values()} == {int}


def test_an_answer_is_what_validating_would_have_made(answering: Callable[..., ChatScaleway]) -> None:
    result = answering(id="one", model="m-1", usage=COUNTS).generate([[HumanMessage("x")]])
    (generation,) = result.generations[0]
    message = generation.message
    again = AIMessage(
        "Hello", id="one", response_metadata=message.response_metadata, usage_metadata=message.usage_metadata
    )
    assert message == again
    assert generation == ChatGeneration(message=again, generation_info={"finish_reason": "stop"})
    assert AIMessage.model_validate(message.model_dump()) == message
    # Nothing is shared between two answers.
    other = answering(id="one", model="m-1", usage=COUNTS).invoke("x")
    other.tool_calls.append({"name": "add", "args": {}, "id": "c", "type": "tool_call"})
    other.additional_kwargs["mine"] = 1
    assert (message.tool_calls, message.additional_kwargs) == ([], {})


async def test_a_subclass_may_ask_in_its_own_way() -> None:
    class Counting(BaseCallbackHandler):
        ended = 0

        def on_llm_end(self, *_: Any, **__: Any) -> None:
            self.ended += 1

    class Parrot(ChatScaleway):
        """Has no ``run_manager``, which core then leaves out."""

        def _generate(self, messages: Any, stop: Any = None) -> ChatResult:  # type: ignore[override]  # on purpose
            text = f"{messages[0].content} {stop}"
            return ChatResult(generations=[ChatGeneration(message=AIMessage(text))])

        async def _agenerate(self, messages: Any, stop: Any = None) -> ChatResult:  # type: ignore[override]  # as above
            return self._generate(messages, stop)

    handler = Counting()
    parrot = Parrot(model="m", api_key="no-key-at-all", base_url="http://127.0.0.1:9", callbacks=[handler])
    assert parrot.invoke("polly", stop=["!"]).content == "polly ['!']"
    assert (await parrot.ainvoke("polly")).content == "polly None"
    assert handler.ended == 2
    assert list(inspect.signature(ChatScaleway._generate).parameters) == [
        *("self", "messages", "stop", "run_manager", "kwargs")
    ]
