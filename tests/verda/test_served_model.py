"""The model that the server lists: asked for once, when a call names none; what the list says of it is used."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.errors import ConfigurationError, InvalidRequestError, LinkspanError, NotFoundError
from tests.verda.conftest import ASKERS, KEY, Asker, every

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox

CHATS = [asker for asker in ASKERS if asker.name == "ChatDataCrunch"]
chats = pytest.mark.parametrize("asker", CHATS, ids=lambda asker: asker.framework)


def paths(sandbox: Sandbox) -> list[str]:
    return [request.path.rpartition("/v1/")[2] for request in sandbox.requests]


@every
async def test_the_list_is_read_once(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox)
    assert asker.ask(model) == "hi"
    assert "".join(asker.pieces(model)) == "hi"
    assert await asker.aask(model) == "hi"
    assert "".join(await asker.apieces(model)) == "hi"
    assert paths(sandbox).count("models") == 1
    assert {json.loads(request.content)["model"] for request in sandbox.requests if request.content} == {"sandbox"}


@every
async def test_calls_at_once_ask_once(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox)
    assert await asyncio.gather(*(asker.aask(model) for _ in range(5))) == ["hi"] * 5
    assert paths(sandbox).count("models") == 1
    other = asker.make(sandbox)
    threads = [threading.Thread(target=asker.ask, args=(other,), daemon=True) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths(sandbox).count("models") == 2


@every
def test_a_named_model_asks_for_no_list(asker: Asker, sandbox: Sandbox) -> None:
    assert asker.ask(asker.make(sandbox, model="mixtral")) == "hi"
    assert asker.ask(asker.make(sandbox, extra_body={"model": "sandbox"})) == "hi"
    assert "models" not in paths(sandbox)


@every
def test_a_bad_request_fails_before_the_list(asker: Asker, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="api="):
        asker.ask(asker.make(sandbox), typical_p=0.5)
    assert paths(sandbox) == []


def _lists(models: Any, status: int = 200) -> Callable[[httpx.Request], httpx.Response]:
    return lambda _: httpx.Response(status, json=models)


@every
@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ([], "which is empty"),
        ([{"id": "no-default-models"}], "which is empty"),
        ([{"id": "a"}, {"id": "b"}], "one of 'a', 'b'"),
    ],
)
def test_a_list_that_decides_nothing(asker: Asker, sandbox: Sandbox, listed: list[dict[str, Any]], words: str) -> None:
    client = httpx.Client(transport=httpx.MockTransport(_lists({"object": "list", "data": listed})))
    model = asker.make(sandbox, http_client=client)
    with pytest.raises(ConfigurationError, match=words):
        asker.ask(model)


@every
def test_a_server_without_a_list_is_not_remembered(asker: Asker, sandbox: Sandbox) -> None:
    answers = [httpx.Response(404, json={"detail": "Not Found"}), httpx.Response(200, json={"data": [{"id": "a"}]})]
    client = httpx.Client(transport=httpx.MockTransport(lambda _: answers.pop(0)))
    model = asker.make(sandbox, http_client=client)
    with pytest.raises(NotFoundError, match=r"GET /v1/models.*Set model"):
        asker.ask(model)
    answers.append(httpx.Response(400, json={"error": {"message": "asked for a", "code": 400}}))
    with pytest.raises(LinkspanError, match="asked for a"):
        asker.ask(model)


@every
def test_the_window_is_known_once_the_list_was_read(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox)

    def window() -> Any:
        if asker.framework == "llama_index":
            return model.metadata.context_window
        return (getattr(model, "profile", None) or {}).get("max_input_tokens")

    unknown = window()
    assert paths(sandbox) == []
    model.list_models()
    if asker.framework == "llama_index" or asker.name == "ChatDataCrunch":
        assert window() == 32_768
        model.base_url = "http://127.0.0.1:9"
        assert window() == unknown


def test_a_profile_of_the_users_stays(sandbox: Sandbox) -> None:
    model = CHATS[0].make(sandbox, profile={"max_input_tokens": 7})
    model.list_models()
    assert model.profile == {"max_input_tokens": 7}


@every
def test_the_name_is_the_servers_once_known(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox)
    asker.ask(model)
    name = model.model_name if asker.framework == "langchain" else model.metadata.model_name
    assert name == "sandbox"


# ------------------------------------------------------------------ ids of tool calls


def _history(framework: str) -> list[Any]:
    if framework == "langchain":
        from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

        call = {"name": "look", "args": {}, "id": "call_0123456789abcdef"}
        return [HumanMessage("hi"), AIMessage("", tool_calls=[call]), ToolMessage("42", tool_call_id=call["id"])]
    from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock

    block = ToolCallBlock(tool_call_id="call_0123456789abcdef", tool_name="look", tool_kwargs={})
    return [
        ChatMessage("hi"),
        ChatMessage(role="assistant", blocks=[block]),
        ChatMessage("42", role="tool", additional_kwargs={"tool_call_id": "call_0123456789abcdef"}),
    ]


def _sent_ids(asker: Asker, model: Any, requests: list[httpx.Request]) -> set[str]:
    ask = model.invoke if asker.framework == "langchain" else model.chat
    ask(_history(asker.framework))
    messages = json.loads(requests[-1].content)["messages"]
    return {messages[1]["tool_calls"][0]["id"], messages[2]["tool_call_id"]}


@chats
@pytest.mark.parametrize(
    ("settings", "root", "short"),
    [
        ({}, "/models/plain", False),
        ({}, "mistralai/Mistral-Large-3", True),
        ({"model": "deployed"}, "/models/plain", False),
        ({"model": "mistral-large"}, "/models/plain", True),
        ({"short_tool_call_ids": True}, "/models/plain", True),
    ],
)
def test_mistrals_templates_get_nine_characters(
    asker: Asker, sandbox: Sandbox, settings: dict[str, Any], root: str, short: bool
) -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if request.method == "GET":
            return httpx.Response(200, json={"data": [{"id": "deployed", "root": root}]})
        message = {"role": "assistant", "content": "so"}
        return httpx.Response(200, json={"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    client = httpx.Client(transport=httpx.MockTransport(answer))
    model = asker.make(sandbox, http_client=client, **settings)
    ids = _sent_ids(asker, model, requests)
    assert len(ids) == 1
    assert (len(ids.pop()) == 9) is short
    assert all(request.headers["authorization"] == f"Bearer {KEY}" for request in requests)
