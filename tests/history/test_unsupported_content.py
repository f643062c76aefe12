"""Content that an API or a chat template cannot carry is refused, and the error names the message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, TextBlock, ThinkingBlock, ToolCallBlock

from linkspan import langchain, llama_index
from linkspan.errors import InvalidRequestError, UnsupportedContentError
from tests.history.conftest import Subject

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

JINJA = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
THOUGHT = {"type": "reasoning", "reasoning": "hm"}
#: What prompts lack, in both frameworks, and the message that has it.
NOT_IN_PROMPTS: dict[str, tuple[list[Any], list[Any], str]] = {
    "reasoning of a user": (
        [HumanMessage([THOUGHT, {"type": "text", "text": "a"}])],
        [ChatMessage(role="user", blocks=[ThinkingBlock(content="hm"), TextBlock(text="a")])],
        r"message 0 \(user\)",
    ),
    "reasoning of the system": (
        [SystemMessage([THOUGHT, {"type": "text", "text": "a"}]), HumanMessage("b")],
        [ChatMessage(role="system", blocks=[ThinkingBlock(content="hm"), TextBlock(text="a")]), ChatMessage("b")],
        r"message 0 \(system\)",
    ),
}
PROMPT_MODELS = [
    (langchain.ChatDataCrunch, "tgi_url", {"api": "generate", "chat_template": "llama-3"}),
    (langchain.ChatDataCrunch, "tgi_url", {"api": "generate", "chat_template": JINJA}),
    (langchain.ChatLLMEngine, "llm_engine_url", {"api": "v1", "model": "llama-2-7b", "chat_template": "mistral"}),
    (llama_index.DataCrunch, "tgi_url", {}),
    (llama_index.DataCrunch, "tgi_url", {"chat_template": "mistral"}),
    (llama_index.LLMEngine, "llm_engine_url", {"model": "llama-2-7b", "chat_template": "llama-3"}),
]


@pytest.mark.parametrize("content", list(NOT_IN_PROMPTS))
@pytest.mark.parametrize("made", PROMPT_MODELS, ids=lambda made: made[0].__module__)
def test_a_prompt_leaves_out_nothing_of_a_user(sandbox: Sandbox, made: Any, content: str) -> None:
    cls, url, settings = made
    model = cls(api_key="any-key", base_url=getattr(sandbox, url), max_retries=0, **settings)
    in_langchain, in_llama_index, where = NOT_IN_PROMPTS[content]
    is_langchain = "langchain" in cls.__module__
    with pytest.raises(UnsupportedContentError, match=where):
        (model.invoke if is_langchain else model.chat)(in_langchain if is_langchain else in_llama_index)
    model.close()
    assert not sandbox.requests


@pytest.mark.parametrize("cls", [langchain.DataCrunch, langchain.LLMEngine])
def test_core_writes_no_prompt_without_a_part_of_a_message(sandbox: Sandbox, cls: Any) -> None:
    url = sandbox.tgi_url if cls is langchain.DataCrunch else sandbox.llm_engine_url
    model = cls(api_key="any-key", base_url=url, model="m")
    broken = {"id": "a", "name": "pay", "args": "{", "error": None}
    for message, match in (
        (HumanMessage([THOUGHT, {"type": "text", "text": "a"}]), "message 0 has a block of type 'reasoning'"),
        (HumanMessage("a", name="Ada"), r"message 0 has a name \('Ada'\)"),
        (AIMessage("", invalid_tool_calls=[broken]), "message 0 has invalid_tool_calls"),
    ):
        with pytest.raises(UnsupportedContentError, match=match):
            model.invoke([message, HumanMessage("b")])
    model.close()
    assert not sandbox.requests


@pytest.mark.parametrize("made", PROMPT_MODELS, ids=lambda made: made[0].__module__)
def test_a_prompt_has_the_name_of_a_user(sandbox: Sandbox, made: Any) -> None:
    cls, url, settings = made
    model = cls(api_key="any-key", base_url=getattr(sandbox, url), max_retries=0, **settings)
    if "langchain" in cls.__module__:
        model.invoke([HumanMessage("Where?", name="Ada")])
    else:
        model.chat([ChatMessage("Where?", additional_kwargs={"name": "Ada"})])
    model.close()
    body = sandbox.last_request.json
    assert "Ada: Where?" in (body["inputs"] if "inputs" in body else body["prompt"])


@pytest.mark.parametrize("turn", ["{{ m.name }}> {{ m.content }}", "{{ m.content }}{{ m.call.name if m.call }}"])
def test_a_template_that_writes_names_does_it_itself(sandbox: Sandbox, turn: str) -> None:
    source = JINJA.replace("{{ m.content }}", turn)
    with langchain.ChatDataCrunch(
        api_key="any-key", base_url=sandbox.tgi_url, api="generate", chat_template=source
    ) as model:
        model.invoke([HumanMessage("Where?", name="Ada")])
    prompt = sandbox.last_request.json["inputs"]
    assert ("Ada> Where?" if "{{ m.name" in turn else "Ada: Where?") in prompt


def test_a_name_of_the_assistant_is_redundant_in_a_prompt(sandbox: Sandbox) -> None:
    for cls, url, settings in PROMPT_MODELS[:1]:
        model = cls(api_key="any-key", base_url=getattr(sandbox, url), max_retries=0, **settings)
        model.invoke([HumanMessage("a"), AIMessage("b", name="Ada"), HumanMessage("c")])
        model.close()
    assert "Ada" not in sandbox.last_request.json["inputs"]


def test_only_the_assistant_calls_tools(sandbox: Sandbox, api: str) -> None:
    subject = Subject("llama_index", api, sandbox)
    call = ToolCallBlock(tool_call_id="a", tool_name="pay", tool_kwargs={})
    for role in ("user", "system", "tool"):
        with pytest.raises(UnsupportedContentError, match=rf"ToolCallBlock .*\({role} message 1\)"):
            subject.ask("a", ChatMessage(role=role, blocks=[TextBlock(text="b"), call]))
    assert not sandbox.requests


def test_audio_by_url_is_refused_with_what_to_do(sandbox: Sandbox) -> None:
    url = "https://example.com/a.wav"
    for module, turn in (
        (langchain, HumanMessage([{"type": "audio", "url": url}])),
        (llama_index, ChatMessage(role="user", blocks=[AudioBlock(url=url)])),
    ):
        for model in (
            module.ChatDataCrunch(base_url=sandbox.tgi_url, api_key="any-key", api="openai", model="m"),
            module.ChatLLMEngine(base_url=sandbox.llm_engine_url, api_key="any-key", model="m"),
        ):
            with pytest.raises(UnsupportedContentError, match=r"not as a URL \(user message 0\): download it"):
                model.invoke([turn]) if module is langchain else model.chat([turn])
            model.close()
    assert not sandbox.requests


def test_a_call_before_openai_had_tools(sandbox: Sandbox, framework: str, api: str) -> None:
    subject = Subject(framework, api, sandbox)
    call = {"function_call": {"name": "pay", "arguments": '{"to": "Ada"}'}}
    turn: Any = (
        AIMessage("", additional_kwargs=call)
        if framework == "langchain"
        else ChatMessage(role="assistant", content="", additional_kwargs=call)
    )
    subject.ask("a", turn, "b")
    (made,) = subject.sent()[1]["tool_calls"]
    assert made["function"] == {"name": "pay", "arguments": '{"to": "Ada"}'}
    assert made["id"]


def test_numbers_as_ids_and_names_are_sent_as_text(sandbox: Sandbox) -> None:
    subject = Subject("llama_index", "Scaleway", sandbox)
    result = ChatMessage("paid", role="tool", additional_kwargs={"tool_call_id": 5})
    subject.ask(ChatMessage("a", additional_kwargs={"name": 7}), [("5", "pay", {})], result)
    question, turn, sent = subject.sent()
    assert question["name"] == "7"
    assert turn["tool_calls"][0]["id"] == sent["tool_call_id"] == "5"


def test_a_message_of_another_kind(sandbox: Sandbox, api: str) -> None:
    subject = Subject("llama_index", api, sandbox)
    with pytest.raises(InvalidRequestError, match="message 1 must be a ChatMessage of LlamaIndex, not a dict"):
        subject.make().chat([ChatMessage("a"), {"role": "user", "content": "b"}])
    assert not sandbox.requests
