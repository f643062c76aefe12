"""The codec against the dialect: what a user gets, whole and streamed, from servers of every version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr

from linkspan.conversation import ChatRequest, Message, PromptRequest, ResponseFormat, Text, Usage
from linkspan.endpoint import Endpoint, connect
from linkspan.errors import AuthenticationError, ContextOverflowError, InterruptedStreamError, InvalidRequestError
from linkspan.providers.datacrunch import DATACRUNCH, DataCrunchChatCodec, TGICodec, json_grammar
from linkspan.routes.tgi import health, info
from linkspan_sandbox import DataCrunchOptions, EndEarly, Reply, Sandbox, run
from tests.support.streams import assemble, stream_deltas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan.providers.codec import Codec

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}


def reach(url: str, codec: Codec[Any] | None = None, key: str = "any") -> Endpoint[Any]:
    return connect(codec or TGICodec(), DATACRUNCH, api_key=SecretStr(key), base_url=url, max_retries=0, timeout=60)


def ask(prompt: str = "Hello big world", /, *, stop: list[str] | None = None, **parameters: Any) -> PromptRequest:
    return PromptRequest("mixtral", prompt, parameters, stop or [])


@pytest.fixture(params=["datacrunch_url", "tgi_url"])
def endpoint(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Endpoint[Any]]:
    made = reach(getattr(sandbox, request.param))
    yield made
    made.close()


@pytest.mark.parametrize(
    ("request_", "text", "finish"),
    [
        (ask(), "Hello big world", "eos_token"),
        (ask(max_new_tokens=2), "Hello big", "length"),
        (ask(stop=[" big"]), "Hello", "stop_sequence"),
        (ask(stop=["ig w"]), "Hello b", "stop_sequence"),
        (ask(return_full_text=True, stop=["world"]), "Hello big worldHello big ", "stop_sequence"),
        (ask(temperature=0, top_p=0.5), "Hello big world", "eos_token"),
        (ask(temperature=0.5, seed=2**64 - 1, top_n_tokens=1), "Hello big world", "eos_token"),
    ],
)
def test_streamed_and_whole_agree(endpoint: Endpoint[Any], request_: PromptRequest, text: str, finish: str) -> None:
    whole = endpoint.complete(request_)
    streamed = assemble(stream_deltas(endpoint, request_))
    for answer in (whole, streamed):
        assert (answer.text, answer.extra.get("tgi_finish_reason") or answer.finish_reason) == (text, finish)
    assert whole.finish_reason == streamed.finish_reason == ("length" if finish == "length" else "stop")
    assert whole.logprobs == streamed.logprobs
    if "ig w" not in request_.stop:  # else the connection was closed before the counts came
        assert whole.usage == streamed.usage
        assert whole.usage is not None
        assert whole.usage.input_tokens == 3
        assert whole.extra.get("seed") == streamed.extra.get("seed") == request_.parameters.get("seed")


def test_errors_arrive_typed(endpoint: Endpoint[Any]) -> None:
    with pytest.raises(ContextOverflowError):
        endpoint.complete(ask("word " * 5000))
    with pytest.raises(ContextOverflowError):
        list(stream_deltas(endpoint, ask("word " * 5000)))
    unchecked = PromptRequest("mixtral", "Hi", extra_body={"parameters": {"top_k": "x"}})
    with pytest.raises(InvalidRequestError, match="expected i32"):
        list(stream_deltas(endpoint, unchecked))


def test_a_wrong_key() -> None:
    with run(api_key="right") as sandbox:
        endpoint = reach(sandbox.tgi_url, key="wrong")
        with pytest.raises(AuthenticationError, match="Check the key"):
            list(stream_deltas(endpoint, ask()))
        endpoint.close()


def test_a_stream_that_ends_early_holds_the_text_so_far(sandbox: Sandbox, endpoint: Endpoint[Any]) -> None:
    sandbox.add_rule(Reply("one two three", fault=EndEarly(after=2)))
    with pytest.raises(InterruptedStreamError) as caught:
        list(stream_deltas(endpoint, ask()))
    assert caught.value.partial_text == "one two"


def test_answers_in_the_shape_of_a_schema(endpoint: Endpoint[Any]) -> None:
    assert set(json.loads(endpoint.complete(ask(grammar=json_grammar(SCHEMA))).text)) == {"n"}


@pytest.mark.parametrize("version", ["0.9.4", "1.1.0", "1.4.5", "2.0.4", "2.3.1", "3.3.7"])
def test_every_version_is_understood(version: str) -> None:
    with run(datacrunch_options=DataCrunchOptions(version=version)) as sandbox:
        endpoint = reach(sandbox.tgi_url)
        streamed = assemble(stream_deltas(endpoint, ask()))
        assert (streamed.text, streamed.finish_reason) == ("Hello big world", "stop")
        assert streamed.extra["tgi_finish_reason"] == "eos_token"
        told = streamed.usage
        assert told == (Usage(3, 4, 7) if version >= "2.3" else Usage(None, 4, None))
        whole = endpoint.complete(ask())
        assert whole.usage == (Usage(3, 4, 7) if version >= "1.4" else Usage(None, 4, None))
        assert health(endpoint)
        assert info(endpoint).version == version
        assert info(endpoint).max_input_tokens == 4095
        chat = reach(sandbox.tgi_url, DataCrunchChatCodec())
        request = ChatRequest(None, [Message("user", [Text("Hi you")])])
        assert chat.complete(request).text == assemble(stream_deltas(chat, request)).text == "Hi you"
        chat.close()
        endpoint.close()


def test_chat_in_the_shape_of_a_schema(sandbox: Sandbox) -> None:
    chat = reach(sandbox.tgi_url, DataCrunchChatCodec())
    wanted = ResponseFormat("json_schema", SCHEMA, "N")
    request = ChatRequest(None, [Message("user", [Text("Hi")])], response_format=wanted)
    assert set(json.loads(chat.complete(request).text)) == {"n"}
    assert sandbox.last_request.json["response_format"] == {"type": "json", "value": SCHEMA}
    chat.close()
