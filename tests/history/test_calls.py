"""Failed results, headers of one call, names of models without one, keywords that cannot be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import ToolMessage
from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.schema import ImageDocument

from linkspan import langchain, llama_index
from linkspan.errors import ConfigurationError, InvalidRequestError
from tests.history.conftest import Subject

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

PROMPT_CLASSES = {
    "LLMEngine": ("llm_engine_url", {"model": "llama-2-7b"}),
    "DataCrunch": ("tgi_url", {}),
}


def test_a_failed_result_of_several_parts_says_so(subject: Subject) -> None:
    texts = ["no such port", "ask again"]
    if subject.framework == "langchain":
        blocks: list[Any] = [{"type": "text", "text": text} for text in texts]
        result: Any = ToolMessage(blocks, tool_call_id="c1", status="error")
    else:
        result = ChatMessage(
            role=MessageRole.TOOL,
            blocks=[TextBlock(text=text) for text in texts],
            additional_kwargs={"tool_call_id": "c1", "is_error": True},
        )
    subject.ask("?", [("c1", "look", {})], result)
    content = subject.sent()[2]["content"]
    said = content if isinstance(content, str) else "\n".join(part["text"] for part in content)
    assert said == "Error: no such port\nask again"


@pytest.mark.parametrize("way", ["whole", "stream", "async", "astream"])
def test_headers_of_one_call(subject: Subject, way: str) -> None:
    model = subject.make(default_headers={"X-Team": "a", "X-Kept": "k"})
    subject.ask("?", model=model, way=way, extra_headers={"x-team": "b", "anthropic-beta": "c"})
    headers = subject.sandbox.last_request.headers
    assert (headers["x-team"], headers["anthropic-beta"], headers["x-kept"]) == ("b", "c", "k")
    assert "extra_headers" not in subject.sandbox.last_request.json
    subject.ask("?", model=model, way=way)
    assert subject.sandbox.last_request.headers["x-team"] == "a"
    assert "anthropic-beta" not in subject.sandbox.last_request.headers


@pytest.mark.parametrize("name", ["Authorization", "x-api-key", "Cookie", "X-Auth-Token", "Host", "Content-Type"])
def test_headers_of_one_call_are_never_credentials(scaleway: Subject, name: str) -> None:
    before = len(scaleway.sandbox.requests)
    with pytest.raises(ConfigurationError, match=name) as raised:
        scaleway.ask("?", extra_headers={name: "very-secret-value"})
    assert "very-secret-value" not in str(raised.value)
    assert len(scaleway.sandbox.requests) == before


@pytest.mark.parametrize("wrong", ["x", ["a"], {"a": 1}])
def test_headers_of_one_call_are_texts(scaleway: Subject, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"extra_headers must (be a dict of|map names to) texts"):
        scaleway.ask("?", extra_headers=wrong)


@pytest.mark.parametrize("word", ["headers", "extra_query"])
def test_words_that_would_end_in_the_body_are_refused(scaleway: Subject, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        scaleway.ask("?", **{word: {"Authorization": "Bearer x"}})


@pytest.mark.parametrize("cls", list(PROMPT_CLASSES))
def test_headers_of_one_prompt(framework: str, sandbox: Sandbox, cls: str) -> None:
    url, fields = PROMPT_CLASSES[cls]
    made = getattr(langchain if framework == "langchain" else llama_index, cls)
    llm = made(base_url=getattr(sandbox, url), api_key="any-key", max_retries=0, **fields)
    ask = llm.invoke if framework == "langchain" else llm.complete
    ask("x", extra_headers={"x-team": "b"})
    assert sandbox.last_request.headers["x-team"] == "b"


@pytest.mark.parametrize("value", [{1, 2}, object(), float("nan")], ids=["set", "object", "nan"])
def test_a_keyword_that_json_cannot_carry_is_named(scaleway: Subject, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"'chat_template_kwargs\.odd'"):
        scaleway.ask("?", chat_template_kwargs={"fine": 1, "odd": value})


@pytest.mark.parametrize("cls", ["Scaleway", "GraySwan", "LLMEngine", "DataCrunch"])
def test_image_documents_have_a_hint(sandbox: Sandbox, cls: str) -> None:
    urls = {"Scaleway": sandbox.scaleway_url, "GraySwan": sandbox.gray_swan_url, "LLMEngine": sandbox.llm_engine_url}
    fields = {} if cls == "GraySwan" else {"model": "m"}
    llm = getattr(llama_index, cls)(base_url=urls.get(cls, sandbox.tgi_url), api_key="any-key", **fields)
    with pytest.raises(ConfigurationError, match="ImageBlock"):
        llm.complete("Describe it.", image_documents=[ImageDocument(text="x")])


# --------------------------------------------------------------------------- a container without a model's name


def containers(framework: str, base_url: str) -> list[Any]:
    where = {"base_url": base_url, "api_key": "any-key", "max_retries": 0}
    if framework == "langchain":
        return [
            langchain.DataCrunch(**where),
            langchain.ChatDataCrunch(**where, api="messages"),
            langchain.ChatDataCrunch(**where, chat_template="chatml"),
        ]
    return [llama_index.DataCrunch(**where), llama_index.ChatDataCrunch(**where)]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://containers.datacrunch.io/my-deployment", "my-deployment"),
        ("https://containers.datacrunch.io/my-deployment/", "my-deployment"),
        ("http://127.0.0.1:8080", "tgi"),
    ],
)
def test_a_container_has_one_name(framework: str, address: str, name: str) -> None:
    for model in containers(framework, address):
        if framework == "langchain":
            assert model.model_name == name
            assert model._get_ls_params()["ls_model_name"] == name
        else:
            assert model.metadata.model_name == name


@pytest.mark.parametrize("way", ["whole", "stream", "async", "astream"])
def test_tokens_of_a_container_are_counted(framework: str, sandbox: Sandbox, way: str) -> None:
    subject = Subject(framework, "DataCrunch", sandbox)
    if framework == "langchain":
        for model in containers(framework, sandbox.tgi_url)[1:]:
            with get_usage_metadata_callback() as counted:
                subject.ask("one two three", model=model, way=way)
            assert list(counted.usage_metadata) == ["container"]
            assert counted.usage_metadata["container"]["output_tokens"] > 0
        return
    for model in containers(framework, sandbox.tgi_url):
        counter = TokenCountingHandler(tokenizer=lambda text: [0] * 1000)
        model.callback_manager = CallbackManager([counter])
        subject.ask("one two three", model=model, way=way)
        assert 0 < counter.completion_llm_token_count < 1000
