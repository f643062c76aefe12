"""``list_models()`` and ``alist_models()``: what the API says, joined with the catalogue; typed errors."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core import exceptions as core

from linkspan import errors, langchain, llama_index
from linkspan_sandbox import run
from tests.catalogue.conftest import KEY, answer, listed, name_of

if TYPE_CHECKING:
    from tests.support.loopback import LoopbackServer

CHAT = [langchain.ChatScaleway, llama_index.Scaleway]
LIST = {
    "object": "list",
    "data": [
        {"id": "glm-5.2", "object": "model", "created": 1760000000, "owned_by": "zai"},
        {"id": "a-model-of-tomorrow", "object": "model", "max_model_len": 4096, "permission": [{"id": "p"}]},
        {"id": "qwen3-embedding-8b", "object": "model", "created": None, "owned_by": None},
    ],
}


def make(cls: Any, server: LoopbackServer, **fields: Any) -> Any:
    defaults = {
        "model": "gemma-4-26b-a4b-it",
        "api_key": KEY,
        "base_url": f"{server.url}/v1",
        "max_retries": 0,
        "timeout": 60,
    }
    return cls(**{**defaults, **fields})


def test_every_class_lists_models(server: LoopbackServer, cls: Any, face: str) -> None:
    answer(server, LIST)
    models = listed(make(cls, server), face)
    assert [model.id for model in models] == ["glm-5.2", "a-model-of-tomorrow", "qwen3-embedding-8b"]
    (request,) = server.requests
    assert (request.method, request.target, request.body) == ("GET", "/v1/models", b"")
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_nothing_that_the_api_says_is_lost(server: LoopbackServer, cls: Any, face: str) -> None:
    answer(server, LIST)
    glm, tomorrow, embedding = listed(make(cls, server), face)
    assert (glm.owned_by, glm.created, glm.extra) == ("zai", 1760000000, {})
    assert (tomorrow.owned_by, tomorrow.created) == (None, None)
    assert tomorrow.extra == {"max_model_len": 4096, "permission": [{"id": "p"}]}
    assert embedding.owned_by is None


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_what_the_catalogue_knows_is_joined(server: LoopbackServer, cls: Any, face: str) -> None:
    answer(server, LIST)
    glm, tomorrow, embedding = listed(make(cls, server), face)
    assert glm.info.max_output_tokens == 16384
    assert (glm.info.price.input, glm.info.price.output, glm.info.price.currency) == (
        Decimal("1.8"),
        Decimal("5.5"),
        "EUR",
    )
    assert tomorrow.info is None
    assert embedding.info.kind == "embedding"


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_each_call_asks_anew(server: LoopbackServer, cls: Any) -> None:
    model = make(cls, server)
    for data in (LIST["data"], []):
        answer(server, {"object": "list", "data": data})
    assert [len(model.list_models()), len(model.list_models())] == [3, 0]
    model.close()


@pytest.mark.parametrize(
    ("status", "mine", "cores"),
    [
        (401, errors.AuthenticationError, core.ModelAuthenticationError),
        (403, errors.PermissionDeniedError, core.ModelPermissionDeniedError),
        (404, errors.NotFoundError, core.ModelNotFoundError),
        (429, errors.RateLimitError, core.ModelRateLimitError),
        (500, errors.ServerError, core.ModelAPIError),
    ],
)
@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_errors_are_typed(  # noqa: PLR0917
    server: LoopbackServer, cls: Any, face: str, status: int, mine: type[Exception], cores: type[Exception]
) -> None:
    body = {"status": status, "error": "SOMETHING", "message": f"no, and {KEY} is your key"}
    answer(server, body, status, {"x-request-id": "r-1"})
    with pytest.raises(mine) as caught:
        listed(make(cls, server), face)
    assert (caught.value.status_code, caught.value.request_id) == (status, "r-1")
    assert KEY not in f"{caught.value} {caught.value.body} {caught.value!r}"
    assert isinstance(caught.value, cores) == (cls is langchain.ChatScaleway)
    if status == 403:
        assert "set project_id" in str(caught.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"object": "list"}, "no list of models"),
        ({"object": "list", "data": {"id": "x"}}, "no list of models"),
        ({"data": [{"id": "x"}, {"object": "model"}]}, "model 1 of the list has no id"),
        ({"data": ["x"]}, "model 0 of the list has no id"),
        ("hello", "no list of models"),
    ],
)
@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_what_is_no_list_is_an_error(server: LoopbackServer, cls: Any, body: Any, said: str) -> None:
    answer(server, body)
    with pytest.raises(errors.InvalidResponseError, match=said) as caught:
        listed(make(cls, server), "sync")
    assert isinstance(caught.value, core.ModelAPIError) == (cls is langchain.ChatScaleway)


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_an_error_under_status_200_is_one(server: LoopbackServer, cls: Any, face: str) -> None:
    answer(server, {"error": {"message": "not now", "type": "x", "param": None, "code": 503}})
    with pytest.raises(errors.ServerError, match="not now"):
        listed(make(cls, server), face)


def test_a_bare_list_is_taken_too(server: LoopbackServer) -> None:
    answer(server, [{"id": "x", "created": 1.5}])
    (model,) = listed(make(langchain.ChatScaleway, server), "sync")
    assert (model.id, model.created, model.extra) == ("x", None, {"created": 1.5})


@pytest.mark.parametrize("cls", CHAT, ids=name_of)
def test_the_sandbox_lists_its_models_with_a_key_only(cls: Any, face: str) -> None:
    with run(api_key=KEY) as sandbox:
        fields = {"model": "gpt-oss-120b", "base_url": sandbox.scaleway_url, "max_retries": 0}
        models = {model.id: model for model in listed(cls(**fields, api_key=KEY), face)}
        assert models["gpt-oss-120b"].info.reasoning_efforts == ("low", "medium", "high")
        assert all(model.owned_by and model.created for model in models.values())
        with pytest.raises(errors.AuthenticationError):
            listed(cls(**fields), face)
