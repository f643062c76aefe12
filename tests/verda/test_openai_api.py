"""What vLLM and SGLang take and answer, in both frameworks, over sockets; what is refused, and the way out."""

from __future__ import annotations

import json
from enum import Enum
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import BaseModel

from linkspan.conversation import ToolCall
from linkspan.errors import ConfigurationError, InvalidRequestError, InvalidResponseError, LinkspanError, NotFoundError
from linkspan_sandbox import Reply
from tests.verda.conftest import ASKERS, KEY, Asker, every

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

_SSE = {"content-type": "text/event-stream"}
LANGCHAIN = {asker.name: asker for asker in ASKERS if asker.framework == "langchain"}
LLAMA_INDEX = {asker.name: asker for asker in ASKERS if asker.framework == "llama_index"}
PROMPTS = [asker for asker in ASKERS if asker.name == "DataCrunch"]
prompts = pytest.mark.parametrize("asker", PROMPTS, ids=lambda asker: asker.framework)
chats = pytest.mark.parametrize(
    "asker", [asker for asker in ASKERS if asker not in PROMPTS], ids=lambda asker: asker.framework
)


class Person(BaseModel):
    name: str
    age: int


class Word(Enum):
    YES = "yes"
    NO = "no"


def body(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(sandbox.last_request.content)
    return found


# ------------------------------------------------------------------ requests


@every
@pytest.mark.parametrize(
    "given",
    [
        {"n": 2},
        {"presence_penalty": 0.5, "frequency_penalty": 0.25},
        {"logit_bias": {"7": -3}},
        {"top_k": -1, "min_p": 0.1, "repetition_penalty": 1.1},
        {"max_tokens": 3, "seed": 7, "top_p": 1.0},
        {"structured_outputs": {"regex": "a+"}},
    ],
)
def test_parameters_are_sent_as_they_are(asker: Asker, sandbox: Sandbox, given: dict[str, Any]) -> None:
    asker.ask(asker.make(sandbox, model="sandbox"), **given)
    assert given.items() <= body(sandbox).items()


@every
@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/chat/completions", "/v1/completions", "/generate"])
def test_addresses_are_cut_back(asker: Asker, sandbox: Sandbox, end: str) -> None:
    assert asker.ask(asker.make(sandbox, base_url=sandbox.vllm_url + end)) == "hi"


@prompts
def test_a_prompt_asks_for_more_than_sixteen_tokens(asker: Asker, sandbox: Sandbox) -> None:
    asker.ask(asker.make(sandbox))
    assert body(sandbox)["max_tokens"] == 512


@prompts
async def test_echo_means_the_same_streamed_and_whole(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox)
    sandbox.add_rule("an answer")
    assert asker.ask(model, "once", echo=True) == "oncean answer"
    assert "".join(asker.pieces(model, "once", echo=True)) == "oncean answer"
    assert "".join(await asker.apieces(model, "once", echo=True)) == "oncean answer"


@prompts
def test_several_answers_cannot_be_streamed(asker: Asker, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="n=2 cannot be streamed"):
        asker.pieces(asker.make(sandbox), n=2)


@chats
async def test_one_call_where_only_one_is_allowed(asker: Asker, sandbox: Sandbox) -> None:
    """The word is sent, and kept on servers that ignore it, as this one does."""
    texts = ('{"name": "Ann", "age": 5}', '{"name": "Bo", "age": 6}')
    calls = [ToolCall(None, "Person", text) for text in texts]
    sandbox.add_rule(Reply(tool_calls=calls))
    model: Any = asker.make(sandbox)
    found: list[dict[str, Any]] = []
    if asker.framework == "langchain":
        bound = model.bind_tools([Person], parallel_tool_calls=False)
        chunks = list(bound.stream("hi"))
        for message in (bound.invoke("hi"), sum(chunks[1:], chunks[0]), await bound.ainvoke("hi")):
            found += [call["args"] for call in message.tool_calls]
    else:
        from llama_index.core.tools import FunctionTool

        tools = [FunctionTool.from_defaults(Person, name="Person")]
        given = {"user_msg": "hi", "parallel_tool_calls": False, "allow_parallel_tool_calls": True}
        *_, last = model.stream_chat_with_tools(tools, **given)
        for answer in (model.chat_with_tools(tools, **given), last, await model.achat_with_tools(tools, **given)):
            found += [call.tool_kwargs for call in model.get_tool_calls_from_response(answer)]
    assert found == [{"name": "Ann", "age": 5}] * 3
    assert body(sandbox)["parallel_tool_calls"] is False


@chats
def test_reasoning_goes_back_under_both_names(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox, send_reasoning=True)
    earlier: Any
    if asker.framework == "langchain":
        from langchain_core.messages import AIMessage, HumanMessage

        earlier = AIMessage("so", additional_kwargs={"reasoning_content": "hm"})
        model.invoke([HumanMessage("a"), earlier, HumanMessage("b")])
    else:
        from llama_index.core.base.llms.types import ChatMessage, TextBlock, ThinkingBlock

        earlier = ChatMessage(role="assistant", blocks=[ThinkingBlock(content="hm"), TextBlock(text="so")])
        model.chat([ChatMessage("a"), earlier, ChatMessage("b")])
    turn = body(sandbox)["messages"][1]
    assert (turn["reasoning"], turn["reasoning_content"]) == ("hm", "hm")


# ------------------------------------------------------------------ answers


@chats
def test_reasoning_usage_and_log_probabilities(asker: Asker, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text="a b", reasoning="hm"))
    model = asker.make(sandbox)
    if asker.framework == "langchain":
        answer = model.invoke("hi", logprobs=True, top_logprobs=2)
        assert answer.additional_kwargs["reasoning_content"] == "hm"
        assert answer.usage_metadata["input_tokens"] == 1
        assert [entry["token"] for entry in answer.response_metadata["logprobs"]["content"]] == ["a", " b"]
    else:
        answer = model.chat(_messages("hi"), logprobs=True, top_logprobs=2)
        assert answer.message.blocks[0].content == "hm"
        assert answer.additional_kwargs["prompt_tokens"] == 1
        assert [row[0].token for row in answer.logprobs] == ["a", " b"]


@prompts
def test_log_probabilities_of_a_prompt(asker: Asker, sandbox: Sandbox) -> None:
    sandbox.add_rule("a b")
    model = asker.make(sandbox)
    for asked in ({"logprobs": 2}, {"logprobs": True, "top_logprobs": 2}):
        if asker.framework == "langchain":
            info = model.generate(["hi"], **asked).generations[0][0].generation_info
            assert [entry["token"] for entry in info["logprobs"]] == ["a", " b"]
            assert info["token_usage"]["prompt_tokens"] == 1
        else:
            answer = model.complete("hi", **asked)
            assert [row[0].token for row in answer.logprobs] == ["a", " b"]
            assert answer.additional_kwargs["prompt_tokens"] == 1
        assert body(sandbox)["logprobs"] == 2


def _messages(text: str) -> list[Any]:
    from llama_index.core.base.llms.types import ChatMessage

    return [ChatMessage(text)]


def test_several_answers(sandbox: Sandbox) -> None:
    from langchain_core.messages import HumanMessage

    chat = LANGCHAIN["ChatDataCrunch"].make(sandbox)
    assert len(chat.generate([[HumanMessage("hi")]], n=2).generations[0]) == 2
    prompt = LANGCHAIN["DataCrunch"].make(sandbox)
    assert [one.text for one in prompt.generate(["hi"], n=2).generations[0]] == ["hi", "hi"]
    assert LLAMA_INDEX["DataCrunch"].make(sandbox).complete("hi", n=2).additional_kwargs["alternatives"] == ["hi"]


@pytest.mark.parametrize("name", ["ChatDataCrunch", "DataCrunch"])
def test_structured_output_in_langchain(sandbox: Sandbox, name: str) -> None:
    model = LANGCHAIN[name].make(sandbox)
    assert isinstance(model.with_structured_output(Person).invoke("hi"), Person)
    assert body(sandbox)["response_format"]["json_schema"]["schema"]["properties"].keys() == {"name", "age"}
    assert model.with_structured_output(Word).invoke("hi") in Word
    assert body(sandbox)["structured_outputs"] == {"choice": ["yes", "no"]}


def test_json_mode_and_tools_beside_a_schema(sandbox: Sandbox) -> None:
    model = LANGCHAIN["ChatDataCrunch"].make(sandbox)
    sandbox.add_rule('{"name": "Ann", "age": 5}')
    assert model.with_structured_output(Person, method="json_mode").invoke("hi") == Person(name="Ann", age=5)
    assert body(sandbox)["response_format"] == {"type": "json_object"}
    schema = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    model.bind_tools([Person], response_format=schema).invoke("hi")
    assert {"tools", "response_format"} <= body(sandbox).keys()


@pytest.mark.parametrize("name", ["ChatDataCrunch", "DataCrunch"])
def test_structured_output_in_llama_index(sandbox: Sandbox, name: str) -> None:
    from llama_index.core.prompts import PromptTemplate

    model = LLAMA_INDEX[name].make(sandbox)
    assert isinstance(model.structured_predict(Person, PromptTemplate("hi")), Person)
    assert body(sandbox)["response_format"]["type"] == "json_schema"


# ------------------------------------------------------------------ one server's words at another server

TGI_SETTINGS: list[dict[str, Any]] = [
    {"grammar": {"type": "regex", "value": "a"}},
    {"typical_p": 0.5},
    {"watermark": True},
    {"best_of": 2},
    {"truncate": 5},
    {"return_full_text": True},
    {"adapter_id": "a"},
]


@every
@pytest.mark.parametrize("setting", TGI_SETTINGS, ids=lambda setting: next(iter(setting)))
def test_settings_of_tgi_are_refused_with_the_way_out(asker: Asker, sandbox: Sandbox, setting: dict[str, Any]) -> None:
    (name,) = setting
    words = rf"'{name}' is a parameter of TGI.*choose api=\"generate\""
    if name in asker.cls.model_fields:
        with pytest.raises(ConfigurationError, match=words):
            asker.make(sandbox, **setting)
    with pytest.raises(InvalidRequestError, match=words):
        asker.ask(asker.make(sandbox), **setting)


@every
@pytest.mark.parametrize("setting", [{"presence_penalty": 0.5}, {"min_p": 0.1}])
def test_settings_of_vllm_are_refused_on_tgi(asker: Asker, sandbox: Sandbox, setting: dict[str, Any]) -> None:
    words = 'choose api="openai"'
    given = {"api": None, "base_url": sandbox.tgi_url}
    with pytest.raises(ConfigurationError, match=words):
        asker.make(sandbox, **given, **setting)
    with pytest.raises(InvalidRequestError, match=words):
        asker.ask(asker.make(sandbox, **given), **setting)


@every
def test_a_vllm_server_that_is_asked_as_tgi(asker: Asker, sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError, match='choose api="openai"'):
        asker.ask(asker.make(sandbox, api=None))


@every
async def test_info_of_a_vllm_server(asker: Asker, sandbox: Sandbox) -> None:
    model = asker.make(sandbox)
    with pytest.raises(NotFoundError, match=r"Only TGI has this route.*list_models\(\)"):
        model.info()
    with pytest.raises(NotFoundError, match=r"Only TGI has this route.*list_models\(\)"):
        await model.ainfo()


@chats
def test_a_response_format_of_tgi_at_a_vllm_server(asker: Asker, sandbox: Sandbox) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    with pytest.raises(InvalidRequestError, match='choose api="openai"'):
        asker.ask(asker.make(sandbox, api="messages", model="sandbox"), response_format=schema)
    with pytest.raises(InvalidRequestError, match='choose api="messages"'):
        asker.ask(asker.make(sandbox, base_url=sandbox.tgi_url), response_format=schema)


@prompts
def test_sglangs_own_generate_says_the_way_out(asker: Asker, sandbox: Sandbox) -> None:
    answer = {"text": "hi", "output_ids": [1], "meta_info": {"finish_reason": {"type": "stop"}}}

    def sglang(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/generate"):
            return httpx.Response(200, json=answer)
        return httpx.Response(200, text=f"data: {json.dumps(answer)}\n\n", headers=_SSE)

    client = httpx.Client(transport=httpx.MockTransport(sglang))
    model = asker.make(sandbox, api="generate", http_client=client)
    with pytest.raises(InvalidResponseError, match=r"SGLang's own /generate.*api=\"openai\""):
        asker.ask(model)
    with pytest.raises(InvalidResponseError, match=r"SGLang's own /generate.*api=\"openai\""):
        asker.pieces(model)


@every
def test_an_unknown_model(asker: Asker, sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError, match=r"`other` does not exist.*list_models"):
        asker.ask(asker.make(sandbox, model="other"))


# ------------------------------------------------------------------ addresses and keys


@every
@pytest.mark.parametrize("url", ["https://api.verda.com/v1", "https://api.datacrunch.io", "HTTPS://API.VERDA.COM:443"])
def test_the_cloud_api_gets_no_key(asker: Asker, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for api in ("openai", None):
        with pytest.raises(ConfigurationError, match="is the cloud API"):
            asker.make(sandbox, base_url=url, api=api)
        with monkeypatch.context() as patch:
            patch.setenv("VERDA_BASE_URL", url)
            with pytest.raises(ConfigurationError, match="VERDA_BASE_URL"):
                asker.make(sandbox, base_url=None, api=api)


@every
def test_the_gateway(asker: Asker, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = "https://inference.verda.com/v1"
    with pytest.raises(ConfigurationError, match="VERDA_API_KEY"):
        asker.make(sandbox, base_url=gateway, api_key=None)
    monkeypatch.setenv("VERDA_API_KEY", KEY)
    for api in ("openai", None):
        model = asker.make(sandbox, base_url=gateway, api_key=None, api=api)
        assert model.api_key.get_secret_value() == KEY
    with pytest.raises(ConfigurationError, match='choose api="openai"'):
        asker.make(
            sandbox,
            base_url=gateway,
            api="generate",
            model="m",
            **({"chat_template": "chatml"} if asker.name == "ChatDataCrunch" else {}),
        )


@every
def test_the_legacy_address_has_no_openai_api(asker: Asker, sandbox: Sandbox) -> None:
    with pytest.raises(LinkspanError, match=r"exists on containers only"):
        asker.make(sandbox, base_url="https://inference.datacrunch.io/v1/completions", model="m")
