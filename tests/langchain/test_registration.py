"""Models by name, and serialised models loaded again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from langchain.agents import create_agent
from langchain.chat_models import base, init_chat_model
from langchain.embeddings import base as embeddings
from langchain.embeddings import init_embeddings
from langchain_core.load import dumps, loads

from linkspan.errors import ConfigurationError
from linkspan.langchain import (
    ChatDataCrunch,
    ChatGraySwan,
    ChatLLMEngine,
    ChatScaleway,
    DataCrunch,
    LLMEngine,
    ScalewayEmbeddings,
    register,
    serializable_classes,
)

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

KEY = "a-key-of-some-length"


@pytest.fixture(autouse=True)
def _registries(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Copies of LangChain's registries, so that nothing stays registered; and every API in the environment."""
    for module in (base, embeddings):
        monkeypatch.setattr(module, "_BUILTIN_PROVIDERS", dict(module._BUILTIN_PROVIDERS))
    base._get_chat_model_creator.cache_clear()
    for name, value in {
        "SCW_SECRET_KEY": KEY,
        "SCALEWAY_BASE_URL": sandbox.scaleway_url,
        "GRAYSWAN_API_KEY": KEY,
        "GRAY_SWAN_BASE_URL": sandbox.gray_swan_url,
        "SCALE_API_KEY": KEY,
        "LLM_ENGINE_BASE_PATH": sandbox.llm_engine_url,
        "DATACRUNCH_API_KEY": KEY,
        "DATACRUNCH_BASE_URL": sandbox.datacrunch_url,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("name", "cls", "arguments"),
    [
        ("scaleway:llama-3.3-70b-instruct", ChatScaleway, {"temperature": 0.1}),
        ("scaleway:meta/llama-3.3-70b-instruct:fp8", ChatScaleway, {}),
        ("gray_swan:cygnet", ChatGraySwan, {}),
        ("llm_engine:llama-3-8b-instruct", ChatLLMEngine, {}),
        ("datacrunch:mixtral", ChatDataCrunch, {"chat_template": "mistral"}),
    ],
)
def test_a_model_by_name(name: str, cls: type[Any], arguments: dict[str, Any]) -> None:
    register()
    register()
    model = init_chat_model(name, **arguments)
    assert type(model) is cls
    assert model.model == name.split(":", 1)[1]
    if ":fp8" not in name:  # a dedicated deployment's name, which the sandbox does not serve
        assert "Hello" in model.invoke("Hello").content


def test_the_provider_may_be_given_apart() -> None:
    register()
    assert isinstance(init_chat_model("llama-3.3-70b-instruct", model_provider="Gray-Swan"), ChatGraySwan)


def test_a_model_chosen_at_the_call() -> None:
    register()
    model = init_chat_model(configurable_fields=("model", "model_provider"))
    config: Any = {"configurable": {"model": "scaleway:llama-3.3-70b-instruct"}}
    assert model.invoke("Hello", config=config).content == "Hello"


def test_an_agent_by_name(sandbox: Sandbox) -> None:
    register()
    agent = create_agent("scaleway:llama-3.3-70b-instruct", tools=[])
    state = agent.invoke({"messages": [{"role": "user", "content": "Hello"}]})
    assert state["messages"][-1].content == "Hello"


def test_embeddings_by_name() -> None:
    register()
    assert isinstance(init_embeddings("scaleway:bge-multilingual-gemma2"), ScalewayEmbeddings)


def test_without_it_langchain_knows_no_such_name() -> None:
    with pytest.raises(ValueError, match="scaleway"):
        init_chat_model("llama-3.3-70b-instruct", model_provider="scaleway")


def test_an_entry_of_langchains_own_is_left_alone() -> None:
    base._BUILTIN_PROVIDERS["datacrunch"] = ("langchain_datacrunch", "ChatDataCrunch", lambda cls, **_: cls)  # type: ignore[index]
    with pytest.raises(ConfigurationError, match="langchain_datacrunch"):
        register()
    assert "scaleway" not in base._BUILTIN_PROVIDERS


def test_a_registry_that_moved_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(base, "_BUILTIN_PROVIDERS")
    with pytest.raises(ConfigurationError, match=r"create_agent\(ChatScaleway"):
        register()


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [
        (ChatScaleway, {"model": "llama-3.3-70b-instruct", "temperature": 0.1}),
        (ChatGraySwan, {"moderate_before": True}),
        (ChatLLMEngine, {"model": "llama-2-7b", "api": "v1", "chat_template": "llama-2"}),
        (ChatDataCrunch, {"model": "mixtral", "chat_template": "mistral"}),
        (LLMEngine, {"model": "llama-2-7b", "top_k": 3}),
        (DataCrunch, {"model": "mixtral", "top_k": 3}),
    ],
)
def test_a_serialised_model_is_loaded_again(cls: type[Any], arguments: dict[str, Any]) -> None:
    model = cls(**arguments)
    written = dumps(model)
    assert KEY not in written
    again = loads(written, allowed_objects=serializable_classes(), valid_namespaces=["linkspan"], secrets_from_env=True)
    assert type(again) is cls
    assert again == model
    assert again.invoke("Hello")
