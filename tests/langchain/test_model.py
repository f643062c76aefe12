"""The model as an object: parameters, errors, keys, copies, pickles, serialised forms, connections."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from langchain_core import exceptions as core
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumps, load
from langchain_core.messages import HumanMessage

from linkspan import errors
from linkspan.conversation import Completion
from linkspan.langchain import ChatScaleway
from linkspan.langchain.errors import as_model_error
from linkspan_sandbox import Cut, EndEarly, ErrorEvent, HTTPError, Reply, Sandbox
from tests.langchain.conftest import KEY, MODEL

if TYPE_CHECKING:
    from collections.abc import Callable

# ------------------------------------------------------------------ parameters


def test_nothing_unset_is_sent(model: ChatScaleway, sandbox: Sandbox) -> None:
    model.invoke("x")
    assert sandbox.last_request.json.keys() - {"stream"} == {"model", "messages"}


def test_parameters_and_calls_that_beat_them(make: Callable[..., ChatScaleway], sandbox: Sandbox) -> None:
    fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 50, "top_p": 0.9, "seed": 7, "presence_penalty": 0.5}
    fields |= {"frequency_penalty": 0.1, "reasoning_effort": "low"}
    model = make(**fields, stop="END", extra_body={"priority": 1})
    model.invoke("x")
    body = sandbox.last_request.json
    assert {name: body[name] for name in fields} == fields
    assert body["stop"] == ["END"]
    assert body["priority"] == 1
    model.invoke(
        "x",
        temperature=1.0,
        seed=None,
        top_k=3,
        stop=["A", "B"],
        model="mistral-small-3.2-24b-instruct-2506",
        extra_body={"more": 2},
    )
    body = sandbox.last_request.json
    assert (body["temperature"], body["top_k"], body["stop"], body["model"]) == (
        1.0,
        3,
        ["A", "B"],
        "mistral-small-3.2-24b-instruct-2506",
    )
    assert (body["priority"], body["more"]) == (1, 2)
    assert "seed" not in body


def test_misspelt_arguments_are_refused(model: ChatScaleway, sandbox: Sandbox) -> None:
    with pytest.raises(errors.ConfigurationError, match="'temperature'"):
        ChatScaleway(model=MODEL, temprature=0)
    with pytest.raises(errors.ConfigurationError, match="'max_tokens'"):
        model.invoke("x", max_token=3)
    with pytest.raises(errors.ConfigurationError, match="ChatScaleway"):
        model.invoke("x", max_retries=3)
    with pytest.raises(errors.ConfigurationError, match="'temperature'"):
        model.model_copy(update={"temprature": 0})
    with pytest.raises(errors.ConfigurationError, match="project_id"):
        ChatScaleway(model=MODEL, base_url="https://x.test/v1", project_id="p")
    assert len(sandbox.requests) == 0


def test_model_name_is_another_word_for_model() -> None:
    model = ChatScaleway(model_name=MODEL, api_key=KEY)
    assert (model.model, model.model_name) == (MODEL, MODEL)


def test_no_key_is_an_error_at_once_that_names_the_variable() -> None:
    with pytest.raises(errors.ConfigurationError, match="SCW_SECRET_KEY"):
        ChatScaleway(model=MODEL)


def test_a_key_over_plain_http_to_a_public_host_is_refused_at_once() -> None:
    with pytest.raises(errors.ConfigurationError, match="allow_insecure_http") as caught:
        ChatScaleway(model=MODEL, api_key=KEY, base_url="http://api.example.com/v1")
    assert KEY not in str(caught.value)


# ------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("status", "ours", "cores"),
    [
        (400, errors.InvalidRequestError, core.ModelInvalidRequestError),
        (401, errors.AuthenticationError, core.ModelAuthenticationError),
        (403, errors.PermissionDeniedError, core.ModelPermissionDeniedError),
        (404, errors.NotFoundError, core.ModelNotFoundError),
        (422, errors.InvalidRequestError, core.ModelInvalidRequestError),
        (429, errors.RateLimitError, core.ModelRateLimitError),
        (500, errors.ServerError, core.ModelAPIError),
    ],
)
async def test_errors_are_ours_and_cores(
    model: ChatScaleway, sandbox: Sandbox, status: int, ours: type[Exception], cores: type[Exception]
) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(status)))
    for way in ("invoke", "ainvoke", "stream", "astream"):
        with pytest.raises(ours) as caught:
            await _ask(model, way)
        error: Any = caught.value
        assert isinstance(error, cores), way
        assert error.response.status_code == status, way
        assert isinstance(error.response.json(), dict), way
        assert error.response.text, way
        assert isinstance(error.__cause__, errors.LinkspanError), way
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), again.response.status_code) == (type(error), str(error), status)


async def _ask(model: ChatScaleway, way: str) -> None:
    if way == "invoke":
        model.invoke("x")
    elif way == "ainvoke":
        await model.ainvoke("x")
    elif way == "stream":
        list(model.stream("x"))
    else:
        [chunk async for chunk in model.astream("x")]


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize(
    ("fault", "ours", "cores"),
    [
        (Cut(2), errors.InterruptedStreamError, core.ModelConnectionError),
        (EndEarly(2), errors.InterruptedStreamError, core.ModelConnectionError),
        (ErrorEvent(2), errors.ServerError, core.ModelAPIError),
    ],
)
async def test_errors_inside_streams(  # noqa: PLR0917  # four parameters and two fixtures
    model: ChatScaleway, sandbox: Sandbox, way: str, fault: Any, ours: type[Exception], cores: type[Exception]
) -> None:
    sandbox.add_rule(Reply(text=["one", " two", " three"], fault=fault))
    with pytest.raises(ours) as caught:
        await _ask(model, way)
    assert isinstance(caught.value, cores)
    assert caught.value.partial_text == "one two"  # type: ignore[attr-defined]


def test_context_overflow_is_cores(model: ChatScaleway, sandbox: Sandbox) -> None:
    message = "This model's maximum context length is 10 tokens. However, you requested 20 tokens."
    sandbox.add_rule(Reply(fault=HTTPError(400, message=message)))
    with pytest.raises(core.ContextOverflowError) as caught:
        model.invoke("x")
    assert isinstance(caught.value, errors.ContextOverflowError)


def test_a_blocked_answer_is_kept_as_a_message() -> None:
    blocked = errors.ContentBlockedError("blocked", provider="scaleway", completion=Completion(text="so far"))
    error: Any = as_model_error(blocked)
    assert isinstance(error, core.ModelError)
    assert error.raw_message.content == "so far"
    assert error.response is None
    assert as_model_error(error) is error


@pytest.mark.parametrize("cls", [getattr(errors, name) for name in errors.__all__ if name.endswith("Error")])
def test_every_error_has_its_joint_class(cls: type[errors.LinkspanError]) -> None:
    error = as_model_error(cls("it failed", provider="scaleway", code="c", is_retryable=True))
    assert isinstance(error, cls)
    assert isinstance(error, core.ModelError)
    assert (str(error), error.code, error.is_retryable) == ("it failed", "c", True)
    assert as_model_error(cls("x")).is_retryable is cls.is_retryable


# ------------------------------------------------------------------ keys


def test_keys_are_never_visible(make: Callable[..., ChatScaleway], sandbox: Sandbox) -> None:
    model = make(default_headers={"X-Other-Key": "other-secret"})
    sandbox.add_rule(Reply(fault=HTTPError(401, message=f"wrong key {KEY}")))
    with pytest.raises(errors.AuthenticationError) as caught:
        model.invoke("x")
    error: Any = caught.value
    shown = [
        repr(model),
        str(model),
        dumps(model),
        str(model.model_dump()),
        model.model_dump_json(),
        str(model.asdict()),
    ]
    shown += [str(model._get_invocation_params()), str(model._identifying_params), str(model._serialized)]
    shown += [repr(error), str(error), error.response.text, str(error.response.headers), str(error.__cause__)]
    with pytest.raises(errors.LinkspanError) as refused:
        ChatScaleway(model=MODEL, api_key=KEY, temprature=1)
    with pytest.raises(ValueError, match="max_tokens") as invalid:
        ChatScaleway(model=MODEL, api_key=KEY, max_tokens="many")
    shown += [str(refused.value), str(invalid.value)]
    for text in shown:
        assert KEY not in text
        assert "other-secret" not in text


# ------------------------------------------------------------------ traces, profile, tokens


def test_traces_know_the_model(make: Callable[..., ChatScaleway]) -> None:
    model = make(temperature=0.5, stop=["END"])
    params = model._get_ls_params(model="other", max_tokens=9)
    assert params["ls_provider"] == "scaleway"
    assert params["ls_model_name"] == "other"
    assert (params["ls_temperature"], params["ls_max_tokens"], params["ls_stop"]) == (0.5, 9, ["END"])
    assert (model.metadata or {})["lc_versions"]["linkspan"]


def test_profile_comes_from_the_catalogue(make: Callable[..., ChatScaleway]) -> None:
    profile = make().profile
    assert profile is not None
    assert profile["tool_calling"] is True
    assert profile["max_input_tokens"] > 10_000
    assert not make(model="a-model-of-tomorrow").profile


def test_tokens_are_counted_offline(make: Callable[..., ChatScaleway]) -> None:
    model = make()
    tool = {"title": "T", "description": "A tool", "type": "object", "properties": {"x": {"type": "string"}}}
    messages = [HumanMessage("word " * 40)]
    assert 40 <= model.get_num_tokens("word " * 40) <= 60
    assert model.get_num_tokens_from_messages(messages) < model.get_num_tokens_from_messages(messages, tools=[tool])
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        model.get_token_ids("x")
    exact = make(custom_get_token_ids=lambda text: [ord(letter) for letter in text])
    assert exact.get_num_tokens("abc") == 3
    assert exact.get_num_tokens_from_messages([HumanMessage("abc")]) == len("Human: abc")


# ------------------------------------------------------------------ copies and serialised forms


def test_pickle_and_copies_after_use(model: ChatScaleway) -> None:
    model.invoke("x")
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model), copy.copy(model), model.model_copy()):
        assert other.invoke("same").content == "same"
        assert other._slot is not model._slot
        other.close()


def test_own_clients_are_shared_by_copies_and_refuse_to_pickle(make: Callable[..., ChatScaleway]) -> None:
    with httpx.Client() as client:
        model = make(http_client=client)
        assert copy.deepcopy(model).http_client is client
        assert model.invoke("x").content == "x"
        model.close()
        assert not client.is_closed
        with pytest.raises(errors.ConfigurationError, match="http_client"):
            pickle.dumps(model)


def test_serialised_form_makes_the_round_trip(
    make: Callable[..., ChatScaleway], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make(temperature=0.5)
    monkeypatch.setenv("SCW_SECRET_KEY", KEY)
    written = model.to_json()
    again = load(written, secrets_from_env=True, allowed_objects=[ChatScaleway], valid_namespaces=["linkspan"])
    assert again == model
    assert written["id"] == ["linkspan", "langchain", "scaleway", "ChatScaleway"]


def test_cache_key_follows_changes(make: Callable[..., ChatScaleway], sandbox: Sandbox) -> None:
    model = make(cache=InMemoryCache(), temperature=0)
    model.invoke("x")
    model.invoke("x")
    assert len(sandbox.requests) == 1
    model.temperature = 1
    model.invoke("x")
    assert len(sandbox.requests) == 2
    model.model_copy(update={"temperature": 2}).invoke("x")
    assert len(sandbox.requests) == 3


def test_cache_key_has_the_address_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ChatScaleway(model=MODEL, api_key=KEY)
    before = model._get_llm_string()
    monkeypatch.setenv("SCALEWAY_BASE_URL", "https://gateway.test/v1")
    assert ChatScaleway(model=MODEL, api_key=KEY)._get_llm_string() != before


def test_changed_connection_fields_take_effect(model: ChatScaleway, sandbox: Sandbox) -> None:
    model.invoke("x")
    model.default_headers = {"X-Team": "blue"}
    model.invoke("x")
    assert sandbox.last_request.headers["x-team"] == "blue"


# ------------------------------------------------------------------ connections


def test_two_event_loops(model: ChatScaleway, sandbox: Sandbox) -> None:
    for text in ("one", "two"):
        assert asyncio.run(model.ainvoke(text)).content == text
    assert len(sandbox.requests) == 2


def test_early_break_closes_the_stream(model: ChatScaleway, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(text=["piece "] * 2000, pause=0.01))
    for chunk in model.stream("x"):
        if chunk.content:
            break
    del chunk
    gc.collect()
    request = sandbox.last_request
    assert request.wait_finished()
    assert request.client_left


@pytest.mark.parametrize("how", ["aclose", "break", "cancel"])
async def test_leaving_an_async_stream_closes_it(model: ChatScaleway, sandbox: Sandbox, how: str) -> None:
    sandbox.add_rule(Reply(text=["piece "] * 2000, pause=0.01))
    arrived = asyncio.Event()

    async def read() -> None:
        stream = model.astream("x")
        async for chunk in stream:
            if chunk.content:
                arrived.set()
                if how != "cancel":
                    break
        if how == "aclose":
            await stream.aclose()

    task = asyncio.create_task(read())
    await arrived.wait()
    if how == "cancel":
        task.cancel()
    await asyncio.wait([task])
    gc.collect()
    request = sandbox.last_request
    assert await asyncio.to_thread(request.wait_finished)
    assert request.client_left


async def test_context_managers_and_use_after_close(make: Callable[..., ChatScaleway]) -> None:
    with make() as model:
        assert model.invoke("x").content == "x"
    assert model.invoke("y").content == "y"
    async with make() as model:
        assert (await model.ainvoke("x")).content == "x"
    assert (await model.ainvoke("y")).content == "y"
    await model.aclose()


def test_construction_and_import_open_nothing() -> None:
    script = (
        "import socket, ssl, sys\n"
        "def refuse(*_, **__): raise AssertionError('opened')\n"
        "socket.socket.connect = ssl.create_default_context = ssl.SSLContext.load_verify_locations = refuse\n"
        "from linkspan.langchain import ChatScaleway, DataCrunch, LLMEngine\n"
        "ChatScaleway(model='m', api_key='k').get_num_tokens('text')\n"
        "LLMEngine(model='m', base_url='http://127.0.0.1:9').get_num_tokens('text')\n"
        "DataCrunch(model='m', api_key='k').get_num_tokens('text')\n"
        "assert not {'llama_index', 'starlette', 'transformers'} & sys.modules.keys()\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_streaming_field(make: Callable[..., ChatScaleway], sandbox: Sandbox) -> None:
    assert make(streaming=True).invoke("one two").content == "one two"
    assert sandbox.last_request.json["stream"] is True
    list(make(streaming=True, stream_usage=False).stream("x"))
    assert "stream_options" not in sandbox.last_request.json
