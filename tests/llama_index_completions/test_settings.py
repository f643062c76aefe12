"""Construction, aliases, settings of one call, copies, secrets, and what a server tells of itself."""

from __future__ import annotations

import asyncio
import copy
import importlib
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from pydantic import SecretStr

from linkspan import errors
from linkspan.llama_index import ChatDataCrunch, ChatLLMEngine, DataCrunch, LLMEngine
from linkspan.providers.datacrunch.parameters import PARAMETERS
from linkspan.providers.llm_engine import PROMPT_FIELDS
from tests.llama_index_completions.conftest import CHATS, KEY, KINDS, PROMPTS, call_all, parameters_of, stops_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


@pytest.mark.parametrize(
    ("leaf", "classes"),
    [("llm_engine", (ChatLLMEngine, LLMEngine)), ("datacrunch", (ChatDataCrunch, DataCrunch))],
)
def test_the_leaf_has_the_same_classes(leaf: str, classes: tuple[type[Any], ...]) -> None:
    module = importlib.import_module(f"llama_index.llms.{leaf}")
    assert module.__all__ == [cls.__name__ for cls in classes]
    for cls in classes:
        assert getattr(module, cls.__name__) is cls
        assert "BaseLLM" in [base.__name__ for base in cls.__mro__]
        assert cls.class_name() == cls.__name__


# --------------------------------------------------------------------------- metadata


@pytest.mark.parametrize(
    ("kind", "name", "window", "output"),
    [
        ("llm_engine", "llama-2-7b", 4096, 256),
        ("legacy", "mixtral", 4096, 512),
        ("container", "container", 4096, 512),
        ("chat_llm_engine", "llama-3-8b-instruct", 128_000, 256),
        ("chat_datacrunch", "container", 128_000, 256),
    ],
)
def test_metadata(  # noqa: PLR0917  # fixtures and cases
    make: Callable[..., Any], sandbox: Sandbox, kind: str, name: str, window: int, output: int
) -> None:
    facts = make(kind).metadata
    assert (facts.model_name, facts.context_window, facts.num_output) == (name, window, output)
    assert facts.is_chat_model == facts.is_function_calling_model == (kind in CHATS)
    given = make(kind, context_window=9000, max_tokens=100).metadata
    assert (given.context_window, given.num_output) == (9000, 100)
    assert len(sandbox.requests) == 0


@pytest.mark.parametrize("kind", PROMPTS)
def test_room_for_an_answer_is_what_is_asked_for(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    # LlamaIndex fills the window up to this: less would make the server refuse.
    llm = make(kind)
    llm.complete("x")
    assert parameters_of(sandbox.last_request)["max_new_tokens"] == llm.metadata.num_output


# --------------------------------------------------------------------------- arguments


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_apis_own_words_in_constructor_and_call(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    sandbox.add_rule("one two three")
    llm = make(kind, max_new_tokens=9, stop_sequences=["END"])
    assert (llm.max_tokens, llm.stop) == (9, ["END"])
    call_all(llm, "x")
    assert {parameters_of(request)["max_new_tokens"] for request in sandbox.requests} == {9}
    assert all(stops_of(request) == ["END"] for request in sandbox.requests)
    answer = llm.complete("x", max_new_tokens=3, stop_sequences=["three"])
    assert answer.text == "one two "
    assert (parameters_of(sandbox.last_request)["max_new_tokens"], stops_of(sandbox.last_request)) == (3, ["three"])
    llm.complete("x", stop=None, max_tokens=None)
    assert stops_of(sandbox.last_request) == []
    assert parameters_of(sandbox.last_request)["max_new_tokens"] == llm._default_max_tokens
    with pytest.raises(errors.ConfigurationError, match="max_tokens and max_new_tokens"):
        make(kind, max_tokens=1, max_new_tokens=2)
    with pytest.raises(errors.ConfigurationError, match="max_tokens and max_new_tokens"):
        make(kind, callback_manager=None).complete("x", max_tokens=1, max_new_tokens=2)


@pytest.mark.parametrize("kind", PROMPTS)
def test_the_apis_own_words_in_additional_kwargs(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, additional_kwargs={"max_new_tokens": 7})
    assert llm.metadata.num_output == 7
    llm.complete("x")
    assert parameters_of(sandbox.last_request)["max_new_tokens"] == 7
    llm.complete("x", max_tokens=3)
    assert parameters_of(sandbox.last_request)["max_new_tokens"] == 3
    make("llm_engine", additional_kwargs={"stop_sequences": ["END"]}).complete("x")
    assert stops_of(sandbox.last_request) == ["END"]


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_wrong_template_is_named(make: Callable[..., Any], kind: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"^Unknown chat template 'lama-2'. Did you mean llama-2"):
        make(kind, chat_template="lama-2")
    with pytest.raises(errors.ConfigurationError, match=r"not valid Jinja \(line 1\)"):
        make(kind, chat_template="{% bad %}")


LLM_ENGINE_FIELDS: dict[str, Any] = {
    "temperature": 0.5,
    "max_new_tokens": 9,
    "stop_sequences": ["END"],
    "return_token_log_probs": True,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "top_k": 5,
    "top_p": 0.9,
    "include_stop_str_in_output": True,
    "guided_json": {"type": "object", "properties": {}},
    "guided_regex": "[a-z]+",
    "guided_choice": ["a", "b"],
    "guided_grammar": "root ::= 'a'",
    "skip_special_tokens": False,
}
TGI_FIELDS: dict[str, Any] = {
    "temperature": 0.5,
    "max_new_tokens": 9,
    "stop": ["END"],
    "do_sample": True,
    "top_k": 5,
    "top_p": 0.9,
    "typical_p": 0.9,
    "repetition_penalty": 1.1,
    "frequency_penalty": 0.2,
    "seed": 18_446_744_073_709_551_615,
    "best_of": 2,
    "truncate": 100,
    "watermark": True,
    "return_full_text": True,
    "details": False,
    "decoder_input_details": True,
    "top_n_tokens": 2,
    "grammar": {"type": "regex", "value": "[a-z]+"},
    "adapter_id": "mine",
}


def test_every_field_of_llm_engine_as_argument_and_of_one_call(make: Callable[..., Any], sandbox: Sandbox) -> None:
    assert set(LLM_ENGINE_FIELDS) == set(PROMPT_FIELDS)
    for name, value in LLM_ENGINE_FIELDS.items():
        make("llm_engine", **{name: value}).complete("x")
        assert parameters_of(sandbox.last_request)[name] == value
        make("llm_engine").complete("x", **{name: value})
        assert parameters_of(sandbox.last_request)[name] == value


def test_every_field_of_tgi_as_argument_and_of_one_call(make: Callable[..., Any], sandbox: Sandbox) -> None:
    assert set(TGI_FIELDS) | {"max_tokens"} == PARAMETERS
    for name, value in TGI_FIELDS.items():
        settings = {"do_sample": True, name: value} if name == "best_of" else {name: value}
        for llm, options in ((make("legacy", **settings), {}), (make("legacy"), settings)):
            llm.complete("x", **options)
            assert parameters_of(sandbox.last_request)[name] == value


@pytest.mark.parametrize(
    ("kind", "settings", "named"),
    [
        ("llm_engine", {"temperature": 1.5}, "temperature"),
        ("llm_engine", {"top_k": 0}, "top_k"),
        ("llm_engine", {"temperature": 0, "top_p": 0.5}, r"top_p.*temperature=0"),
        ("legacy", {"top_p": 0}, "top_p"),
        ("legacy", {"best_of": 2, "seed": 1, "do_sample": True}, "best_of"),
        ("container", {"stop": ["1", "2", "3", "4", "5"]}, r"stop.*TGI takes 4"),
    ],
)
def test_what_every_server_refuses_is_refused_here(
    make: Callable[..., Any], sandbox: Sandbox, kind: str, settings: dict[str, Any], named: str
) -> None:
    for llm, options in ((make(kind, **settings, callback_manager=None), {}), (make(kind), settings)):
        for method in ("complete", "stream_complete"):
            with pytest.raises(errors.InvalidRequestError, match=named):
                list(getattr(llm, method)("x", **options))
    assert len(sandbox.requests) == 0


@pytest.mark.parametrize("kind", PROMPTS)
def test_a_field_that_the_api_lacks_is_refused(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, callback_manager=None)
    with pytest.raises(errors.UnsupportedContentError, match=r"'min_p'.*extra_body"):
        llm.complete("x", min_p=0.1)
    assert len(sandbox.requests) == 0
    sent = {"min_p": 0.1} if kind == "llm_engine" else {"parameters": {"min_p": 0.1}}
    llm.complete("x", extra_body=sent)
    assert parameters_of(sandbox.last_request)["min_p"] == 0.1


def test_typing_errors_are_found(make: Callable[..., Any], kind: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="Did you mean 'temperature'"):
        make(kind, temprature=0.5)
    with pytest.raises(errors.ConfigurationError, match="not of a call"):
        make(kind, callback_manager=None).complete("x", api_key="other")


def test_the_call_beats_the_instance(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, temperature=0.5, max_tokens=9)
    llm.chat([ChatMessage("x")], temperature=0.1)
    said = parameters_of(sandbox.last_request)
    assert said["temperature"] == 0.1
    assert said.get("max_new_tokens", said.get("max_tokens")) == 9
    assert (llm.temperature, llm.max_tokens) == (0.5, 9)


def test_addresses(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    with pytest.raises(errors.ConfigurationError, match="LLM_ENGINE_BASE_PATH"):
        LLMEngine(model="m", api_key=KEY)
    with pytest.raises(errors.ConfigurationError, match="set model"):
        DataCrunch(api_key=KEY)
    with pytest.raises(errors.ConfigurationError, match="no chat route"):
        ChatDataCrunch(api_key=KEY, model="mixtral", api="messages")
    monkeypatch.setenv("LLM_ENGINE_BASE_PATH", sandbox.llm_engine_url)
    monkeypatch.setenv("SCALE_API_KEY", KEY)
    monkeypatch.setenv("DATACRUNCH_API_KEY", KEY)
    sandbox.add_rule("there")
    with LLMEngine(model="llama-2-7b") as engine, DataCrunch(api_base=f"{sandbox.tgi_url}/generate") as tgi:
        assert engine.complete("x").text == tgi.complete("x").text == "there"


# --------------------------------------------------------------------------- copies and secrets


def test_copies_work(make: Callable[..., Any], kind: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.add_rule("there")
    llm = make(kind, temperature=0.25, default_headers={"x-team": "harbour"}, callback_manager=None)
    monkeypatch.setenv("SCALE_API_KEY", KEY)
    monkeypatch.setenv("DATACRUNCH_API_KEY", KEY)
    copies = [
        pickle.loads(pickle.dumps(llm)),
        copy.deepcopy(llm),
        copy.copy(llm),
        type(llm).from_dict(llm.to_dict()),
        type(llm).from_json(llm.to_json()),
    ]
    for same in copies:
        assert same.complete("x").text == "there"
        assert parameters_of(sandbox.last_request)["temperature"] == 0.25
        same.close()


def test_the_key_is_nowhere_to_be_seen(make: Callable[..., Any], kind: str) -> None:
    llm = make(kind, default_headers={"x-secret": KEY})
    shown = [repr(llm), str(llm), str(llm.to_dict()), llm.to_json(), str(llm.to_payload()), str(vars(llm))]
    assert not any(KEY in text for text in shown[:5])
    assert isinstance(llm.api_key, SecretStr)
    assert "api_key" not in llm.to_dict()


# --------------------------------------------------------------------------- what a server tells of itself


@pytest.mark.parametrize("kind", ["llm_engine", "chat_llm_engine"])
def test_models_and_health_of_llm_engine(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind)
    names = [model.id for model in llm.list_models()]
    assert "llama-2-7b" in names
    assert llm.get_model("mistral-7b").framework == "text_generation_inference"
    llm.check_health()
    with pytest.raises(errors.NotFoundError):
        llm.get_model("nobody")

    async def in_a_loop() -> None:
        async with llm:
            assert [model.id for model in await llm.alist_models()] == names
            assert (await llm.aget_model("mistral-7b")).id == "mistral-7b"
            await llm.acheck_health()

    asyncio.run(in_a_loop())
    with pytest.raises(errors.LinkspanError):
        make(kind, base_url=f"{sandbox.url}/nowhere").check_health()


@pytest.mark.parametrize("kind", ["container", "chat_datacrunch"])
def test_models_health_and_info_of_tgi(make: Callable[..., Any], kind: str) -> None:
    llm = make(kind)
    assert llm.health()
    assert llm.info().max_total_tokens == 4096
    names = [model.id for model in llm.list_models()]
    assert names

    async def in_a_loop() -> None:
        async with llm:
            assert await llm.ahealth()
            assert (await llm.ainfo()).version == llm.info().version
            assert [model.id for model in await llm.alist_models()] == names

    asyncio.run(in_a_loop())


def test_every_kind_is_tested() -> None:
    assert {cls for cls, _, _ in KINDS.values()} == {LLMEngine, DataCrunch, ChatLLMEngine, ChatDataCrunch}
