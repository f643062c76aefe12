"""What LangChain makes of a model's settings: cache keys, serialised forms, copies, tokens."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import load
from langchain_core.messages import HumanMessage

from linkspan import errors
from linkspan.langchain import LLMEngine
from linkspan.prompts import ChatTemplate
from tests.langchain_completions.conftest import KEY, KINDS, limit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


@pytest.fixture
def cached(make: Callable[..., Any], kind: str) -> Any:
    return make(kind, cache=InMemoryCache())


# ------------------------------------------------------------------ cache keys


def test_options_of_a_call_are_in_the_cache_key(cached: Any, sandbox: Sandbox) -> None:
    """With core's own key the second call would get the first one's answer."""
    assert cached.invoke("one two three", max_tokens=1) == "one"
    assert cached.invoke("one two three", max_tokens=2) == "one two"
    assert cached.invoke("one two three", max_tokens=1) == "one"
    assert [limit_of(request) for request in sandbox.requests] == [1, 2]
    cached.invoke("one two three", max_tokens=1, temperature=0.5)
    assert len(sandbox.requests) == 3
    cached.bind(temperature=0.5).invoke("one two three", max_tokens=1)
    assert len(sandbox.requests) == 3


async def test_both_words_for_one_option_are_one_key(cached: Any, kind: str, sandbox: Sandbox) -> None:
    cached.invoke("one two", max_tokens=1)
    cached.invoke("one two", max_new_tokens=1)
    await cached.ainvoke("one two", max_new_tokens=1)
    assert len(sandbox.requests) == 1
    cached.invoke("one two", stop=["two"])
    cached.invoke("one two", stop="two")
    if kind == "llm_engine":
        cached.invoke("one two", stop_sequences=["two"])
        with pytest.raises(errors.ConfigurationError, match="stop_sequences"):
            cached.invoke("one two", stop=["two"], stop_sequences=["two"])
    assert len(sandbox.requests) == 2
    cached.invoke("one two", model="mistral-7b")
    cached.invoke("one two", model_name="mistral-7b")
    assert len(sandbox.requests) == 3


def test_what_does_not_change_an_answer_is_not_in_the_key(cached: Any, sandbox: Sandbox) -> None:
    cached.invoke("x", timeout=5)
    cached.invoke("x", {"tags": ["a"], "run_name": "b"}, timeout=6, stream=True)
    assert len(sandbox.requests) == 1


def test_settings_are_in_the_cache_key(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    cache = InMemoryCache()
    llm = make(kind, cache=cache)
    llm.invoke("x")
    llm.invoke("x")
    assert len(sandbox.requests) == 1
    llm.temperature = 0.7
    llm.invoke("x")
    assert len(sandbox.requests) == 2
    llm.model_copy(update={"top_k": 3}).invoke("x")
    assert len(sandbox.requests) == 3
    make(kind, cache=cache, temperature=0.7).invoke("x")
    assert len(sandbox.requests) == 3


def test_the_address_is_in_the_cache_key(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    cache = InMemoryCache()
    make(kind, cache=cache).invoke("x")
    elsewhere = make(kind, cache=cache, base_url="http://127.0.0.1:9/none")
    with pytest.raises(errors.APIConnectionError):
        elsewhere.invoke("x")


def test_the_address_of_the_environment_is_in_the_cache_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_ENGINE_BASE_PATH", "http://one.test")
    before = LLMEngine(model="m").asdict()
    monkeypatch.setenv("LLM_ENGINE_BASE_PATH", "http://two.test")
    assert LLMEngine(model="m").asdict() != before


async def test_calls_at_the_same_time_have_keys_of_their_own(cached: Any, sandbox: Sandbox) -> None:
    async def ask(limit: int) -> str:
        return str(await cached.ainvoke("a b c d e f", max_tokens=limit))

    answers = await asyncio.gather(*(ask(limit) for limit in range(1, 6)))
    assert answers == ["a", "a b", "a b c", "a b c d", "a b c d e"]
    assert await asyncio.gather(*(ask(limit) for limit in range(1, 6))) == answers
    assert len(sandbox.requests) == 5


def test_a_cached_answer_keeps_what_the_api_said(cached: Any, kind: str) -> None:
    first = cached.generate(["x"]).generations[0][0]
    again = cached.generate(["x"]).generations[0][0]
    assert again.generation_info == first.generation_info
    assert first.generation_info["token_usage"]


@pytest.mark.filterwarnings("ignore:Found no markers of turns")
@pytest.mark.parametrize("chat_kind", ["chat_v1", "chat_generate"])
def test_templates_are_in_a_chats_cache_key(make: Callable[..., Any], chat_kind: str, sandbox: Sandbox) -> None:
    cache = InMemoryCache()
    own = "{% for m in messages %}{{ m.content }}{% endfor %}"
    templates = [
        "chatml",
        "llama-2",
        own,
        own.replace("{{", "> {{"),
        ChatTemplate.from_jinja(own.replace("{{", "| {{")),
        ChatTemplate.from_jinja(own.replace("{{", "! {{")),
        ChatTemplate.named("gemma", leading_bos=True),
        ChatTemplate.named("gemma"),
    ]
    for template in [*templates, *templates]:
        make(chat_kind, cache=cache, chat_template=template).invoke("x")
    assert len(sandbox.requests) == len(templates)
    make(chat_kind, cache=cache, chat_template="chatml", split_reasoning=True).invoke("x")
    assert len(sandbox.requests) == len(templates) + 1


# ------------------------------------------------------------------ serialised forms, copies


@pytest.mark.parametrize("name", list(KINDS))
def test_serialised_form_makes_the_round_trip(
    make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    model = make(name, temperature=0.5)
    for variable in ("SCALE_API_KEY", "DATACRUNCH_API_KEY"):
        monkeypatch.setenv(variable, KEY)
    cls = KINDS[name][0]
    written = model.to_json()
    assert written["type"] == "constructor"
    again = load(written, secrets_from_env=True, allowed_objects=[cls], valid_namespaces=["linkspan"])
    assert again == model
    assert KEY not in str(written)


def test_a_template_of_ones_own_makes_the_round_trip(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALE_API_KEY", KEY)
    template = ChatTemplate.from_jinja("{% for m in messages %}{{ m.content }}{% endfor %}", eos_token="</s>")
    model = make("chat_v1", chat_template=template)
    cls = type(model)
    again = load(model.to_json(), secrets_from_env=True, allowed_objects=[cls], valid_namespaces=["linkspan"])
    assert again == model
    assert again.chat_template == template


def test_changed_fields_take_effect(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind)
    llm.invoke("x")
    llm.default_headers = {"X-Team": "blue"}
    llm.max_tokens = 7
    llm.invoke("x")
    assert sandbox.last_request.headers["x-team"] == "blue"
    assert limit_of(sandbox.last_request) == 7


def test_a_changed_api_takes_effect(make: Callable[..., Any], sandbox: Sandbox) -> None:
    chat = make("chat_v2", model="llama-3-8b-instruct")
    chat.invoke("x")
    assert sandbox.last_request.path.endswith("v2/chat/completions")
    chat.api = "v1"
    chat.invoke("x")
    assert sandbox.last_request.path.endswith("v1/llm/completions-sync")
    assert "<|start_header_id|>" in sandbox.last_request.json["prompt"]
    copied = chat.model_copy(update={"chat_template": "chatml"})
    copied.invoke("x")
    assert "<|im_start|>" in sandbox.last_request.json["prompt"]
    copied.close()


# ------------------------------------------------------------------ tokens


def test_tokens_are_counted_offline(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind)
    assert 40 <= llm.get_num_tokens("word " * 40) <= 60
    assert llm.get_num_tokens_from_messages([HumanMessage("word " * 40)]) >= 40
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        llm.get_token_ids("x")
    assert make(kind, custom_get_token_ids=lambda text: [ord(letter) for letter in text]).get_num_tokens("abc") == 3
    assert len(sandbox.requests) == 0
