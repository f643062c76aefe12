"""Failures of completion models: typed as linkspan's and LangChain's at once, with the server's words; keys unseen."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core import exceptions as core
from langchain_core.load import dumps

from linkspan import errors
from linkspan.langchain import DataCrunch, LLMEngine
from linkspan_sandbox import Cut, EndEarly, ErrorEvent, HTTPError, Reply, Sandbox, run
from tests.langchain_completions.conftest import KEY, KINDS, defaults

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS = ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"]
STREAMS = ["stream", "astream"]
REQUEST = "0a1b2c3d-0000-4000-8000-123456789abc"


async def ask(llm: Any, way: str) -> None:
    if way in {"invoke", "ainvoke"}:
        await llm.ainvoke("x") if way == "ainvoke" else llm.invoke("x")
    elif way in {"batch", "abatch"}:
        await llm.abatch(["x", "x"]) if way == "abatch" else llm.batch(["x", "x"])
    elif way == "stream":
        list(llm.stream("x"))
    else:
        [chunk async for chunk in llm.astream("x")]


#: By status: linkspan's error and LangChain's.
STATUSES: dict[int, tuple[type[Exception], type[Exception]]] = {
    400: (errors.InvalidRequestError, core.ModelInvalidRequestError),
    401: (errors.AuthenticationError, core.ModelAuthenticationError),
    404: (errors.NotFoundError, core.ModelNotFoundError),
    410: (errors.NotFoundError, core.ModelNotFoundError),
    422: (errors.InvalidRequestError, core.ModelInvalidRequestError),
    429: (errors.RateLimitError, core.ModelRateLimitError),
    500: (errors.ServerError, core.ModelAPIError),
    503: (errors.ServerError, core.ModelAPIError),
}


async def test_errors_are_ours_and_cores(llm: Any, sandbox: Sandbox) -> None:
    # The status is read before it matters how the model was asked: each way meets one, each status two ways.
    for place, (status, (ours, cores)) in enumerate(STATUSES.items()):
        sandbox.reset()
        sandbox.add_rule(Reply(fault=HTTPError(status, headers={"x-request-id": REQUEST})))
        for way in (WAYS[place % 6], WAYS[(place + 3) % 6]):
            with pytest.raises(ours) as caught:
                await ask(llm, way)
            error: Any = caught.value
            assert isinstance(error, cores), (status, way)
            assert isinstance(error, core.ModelError), (status, way)
            assert error.response.status_code == error.status_code == status, way
            assert error.request_id, (status, way)
            assert isinstance(error.__cause__, errors.LinkspanError), (status, way)
            again = pickle.loads(pickle.dumps(error))
            assert (type(again), str(again), again.response.status_code) == (type(error), str(error), status), way


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize(
    ("fault", "ours", "cores"),
    [
        (Cut(2), errors.InterruptedStreamError, core.ModelConnectionError),
        (ErrorEvent(2), errors.ServerError, core.ModelAPIError),
    ],
)
async def test_errors_inside_streams(  # noqa: PLR0917  # four parameters and two fixtures
    llm: Any, sandbox: Sandbox, way: str, fault: Any, ours: type[Exception], cores: type[Exception]
) -> None:
    sandbox.add_rule(Reply(["one", " two", " three"], fault=fault))
    with pytest.raises(ours) as caught:
        await ask(llm, way)
    assert isinstance(caught.value, cores)
    assert caught.value.partial_text == "one two"  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", STREAMS)
async def test_an_error_may_be_the_first_event(llm: Any, sandbox: Sandbox, way: str) -> None:
    sandbox.add_rule(Reply("one two", fault=ErrorEvent(0, message="worker lost")))
    with pytest.raises(errors.ServerError) as caught:
        await ask(llm, way)
    assert isinstance(caught.value, core.ModelAPIError)


@pytest.mark.parametrize("kind", ["datacrunch", "container"])
def test_a_tgi_stream_without_its_last_event_was_cut(llm: Any, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("one two three", fault=EndEarly(2)))
    with pytest.raises(errors.InterruptedStreamError) as caught:
        list(llm.stream("x"))
    assert caught.value.partial_text == "one two"


def test_a_stream_of_tensorrt_may_just_end(make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("one two three", fault=EndEarly(2)))
    with pytest.raises(errors.InterruptedStreamError, match="tensorrt_llm") as caught:
        "".join(make("llm_engine", model="mpt-7b").stream("x"))
    assert caught.value.partial_text == "one two"
    sandbox.add_rule(Reply("one two three", fault=EndEarly(2)))
    assert "".join(make("llm_engine", model="mpt-7b", inference_framework="tensorrt_llm").stream("x")) == "one two"


def test_a_cut_connection_is_asked_again_before_the_first_token(make: Callable[..., Any], kind: str) -> None:
    with run() as sandbox:
        sandbox.add_rule(Reply(fault=Cut(None)), times=1)
        sandbox.add_rule("an answer")
        with KINDS[kind][0](**{**defaults(kind, sandbox), "max_retries": 1}) as llm:
            assert llm.invoke("x") == "an answer"
            assert "".join(llm.stream("x")) == "an answer"
        assert len(sandbox.requests) == 3


# ------------------------------------------------------------------ LLM Engine's words


def test_llm_engines_two_error_keys(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("llm_engine")
    sandbox.add_rule(
        Reply(fault=HTTPError(429, {"error": "Too many requests", "timestamp": "2026-01-01 00:00:00 PST"})), times=1
    )
    with pytest.raises(errors.RateLimitError, match="Too many requests"):
        llm.invoke("x")
    detail = {"detail": f"Upstream service error for request_id {REQUEST}"}
    sandbox.add_rule(Reply(fault=HTTPError(500, detail)), times=1)
    with pytest.raises(errors.ServerError, match="300 s") as caught:
        llm.invoke("x")
    assert caught.value.request_id == REQUEST
    body = {"error": "Internal error occurred.", "timestamp": "t", "request_id": REQUEST}
    sandbox.add_rule(Reply(fault=HTTPError(500, body)), times=1)
    with pytest.raises(errors.ServerError, match="Internal error") as caught:
        llm.invoke("x")
    assert caught.value.request_id == REQUEST
    sandbox.add_rule(Reply(fault=HTTPError(410, {"detail": "The endpoint x is deprecated. max_workers is 0."})))
    with pytest.raises(errors.NotFoundError, match="retired"):
        llm.invoke("x")


def test_llm_engines_error_events_name_the_request(make: Callable[..., Any], sandbox: Sandbox) -> None:
    content = {"error": "the pod is gone", "timestamp": "t"}
    failed = {"request_id": REQUEST, "output": None, "error": {"status_code": 500, "content": content}}
    text = {"text": "one", "finished": False, "num_prompt_tokens": None, "num_completion_tokens": 1, "token": None}
    for events in ([failed], [{"request_id": REQUEST, "output": text, "error": None}, failed]):
        sandbox.add_rule(Reply(events=events), times=1)
        with pytest.raises(errors.ServerError, match="the pod is gone") as caught:
            list(make("llm_engine").stream("x"))
        assert (caught.value.request_id, caught.value.status_code) == (REQUEST, 500)


def test_llm_engines_endpoints_explain_themselves(make: Callable[..., Any], sandbox: Sandbox) -> None:
    with pytest.raises(errors.InvalidRequestError, match="without streaming"):
        list(make("llm_engine", model="llama-2-13b").stream("x"))
    assert make("llm_engine", model="llama-2-13b").invoke("x") == "x"
    with pytest.raises(errors.InvalidRequestError, match="chat"):
        make("llm_engine", model="qwen2-72b-instruct").invoke("x")
    with pytest.raises(errors.InvalidRequestError, match="vLLM"):
        make("llm_engine", model="mistral-7b", guided_regex="a").invoke("x")


# ------------------------------------------------------------------ TGI's words


def test_tgis_error_types_are_kept(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("container")
    for status, error_type, cls in (
        (424, "generation", errors.ServerError),
        (429, "overloaded", errors.RateLimitError),
        (422, "validation", errors.InvalidRequestError),
    ):
        sandbox.add_rule(Reply(fault=HTTPError(status, {"error": "no", "error_type": error_type})), times=2)
        with pytest.raises(cls) as caught:
            llm.invoke("x")
        assert caught.value.code == error_type
        with pytest.raises(cls) as caught:
            list(llm.stream("x"))
        assert caught.value.code == error_type


def test_tgis_token_limits_are_context_overflows(make: Callable[..., Any]) -> None:
    llm = make("container", max_tokens=1000)
    for way in ("invoke", "stream"):
        with pytest.raises(core.ContextOverflowError, match="must be <= 4096") as caught:
            list(getattr(llm, way)("word " * 4000))
        assert isinstance(caught.value, errors.ContextOverflowError)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"", "text/plain"), (b"Failed to deserialize the JSON body", "text/plain"), (b"<html>no</html>", "text/html")],
)
def test_bodies_without_json(make: Callable[..., Any], sandbox: Sandbox, body: bytes, content_type: str) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(422, body, {"content-type": content_type})))
    with pytest.raises(errors.InvalidRequestError):
        make("container").invoke("x")
    with pytest.raises(errors.InvalidRequestError):
        list(make("container").stream("x"))


# ------------------------------------------------------------------ keys, addresses, models


def test_keys_are_never_visible(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind, default_headers={"X-Other-Key": "other-secret"})
    sandbox.add_rule(Reply(fault=HTTPError(401, {"detail": f"wrong key {KEY}", "error": f"wrong key {KEY}"})))
    with pytest.raises(errors.AuthenticationError) as caught:
        llm.invoke("x")
    error: Any = caught.value
    shown = [repr(llm), str(llm), dumps(llm), str(llm.model_dump()), llm.model_dump_json(), str(llm.asdict())]
    shown += [str(llm._identifying_params), str(llm._serialized)]
    shown += [repr(error), str(error), error.response.text, str(error.response.headers), str(error.__cause__)]
    with pytest.raises(errors.LinkspanError) as refused:
        KINDS[kind][0](**defaults(kind, sandbox), temprature=1)
    with pytest.raises(ValueError, match="max_tokens") as invalid:
        KINDS[kind][0](**defaults(kind, sandbox), max_tokens="many")
    shown += [str(refused.value), str(invalid.value)]
    for text in shown:
        assert KEY not in text
        assert "other-secret" not in text


def test_the_key_goes_to_its_own_host_alone(make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The generic wrapper withheld the given token and sent the hub's instead."""
    monkeypatch.setenv("HF_TOKEN", "hf-other")
    with run(api_key=KEY) as sandbox:
        for kind, (cls, fields, where) in KINDS.items():
            with cls(api_key=KEY, base_url=getattr(sandbox, where), **fields) as model:
                model.invoke("x")
            assert sandbox.last_request.status == 200, kind


def test_llm_engines_key_travels_as_asked(make: Callable[..., Any], sandbox: Sandbox) -> None:
    make("llm_engine").invoke("x")
    headers = sandbox.last_request.headers
    assert (headers["authorization"], "x-api-key" in headers) == ("Basic ***", True)
    llm = make("llm_engine", auth="bearer")
    llm.invoke("x")
    headers = sandbox.last_request.headers
    assert (headers["authorization"], "x-api-key" in headers) == ("Bearer ***", False)
    llm.auth = "basic"
    llm.invoke("x")
    assert sandbox.last_request.headers["authorization"] == "Basic ***"
    with pytest.raises(ValueError, match="auth"):
        make("llm_engine", auth="digest")


def test_what_a_class_needs(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    with pytest.raises(errors.ConfigurationError, match="LLM_ENGINE_BASE_PATH"):
        LLMEngine(model="m")
    with pytest.raises(errors.ConfigurationError, match="DATACRUNCH_API_KEY"):
        DataCrunch(model="m")
    with pytest.raises(errors.ConfigurationError, match="set model"):
        DataCrunch(api_key=KEY)
    with pytest.raises(ValueError, match="model"):
        LLMEngine(base_url=sandbox.llm_engine_url)
    with pytest.raises(errors.ConfigurationError, match="blank"):
        LLMEngine(model=" ", base_url=sandbox.llm_engine_url)
    with pytest.raises(errors.ConfigurationError, match="allow_insecure_http"):
        DataCrunch(model="m", api_key=KEY, base_url="http://api.example.com")
    # A deployment of one's own may have no keys.
    for llm in (LLMEngine(model="llama-2-7b", base_url=sandbox.llm_engine_url), DataCrunch(base_url=sandbox.tgi_url)):
        with pytest.raises(errors.AuthenticationError), llm:
            llm.invoke("x")
        assert "authorization" not in sandbox.last_request.headers
    monkeypatch.setenv("SCALE_API_KEY", KEY)
    monkeypatch.setenv("LLM_ENGINE_BASE_PATH", sandbox.llm_engine_url)
    monkeypatch.setenv("VERDA_INFERENCE_KEY", KEY)
    monkeypatch.setenv("DATACRUNCH_BASE_URL", sandbox.tgi_url)
    for llm in (LLMEngine(model_name="llama-2-7b"), DataCrunch()):
        with llm:
            assert llm.invoke("x") == "x"


# ------------------------------------------------------------------ lists, health, descriptions


async def test_llm_engine_lists_its_endpoints(make: Callable[..., Any]) -> None:
    llm = make("llm_engine")
    listed = {model.id: model for model in llm.list_models()}
    assert (listed["mistral-7b"].framework, listed["mistral-7b"].streams) == ("text_generation_inference", True)
    assert (listed["llama-2-13b"].kind, listed["llama-2-13b"].streams) == ("sync", False)
    assert [model.id for model in await llm.alist_models()] == list(listed)
    assert llm.get_model("mpt-7b").framework == "tensorrt_llm"
    assert (await llm.aget_model("mpt-7b")).status == "READY"
    with pytest.raises(errors.NotFoundError, match="another team") as caught:
        llm.get_model("nobody's")
    assert isinstance(caught.value, core.ModelNotFoundError)
    llm.check_health()
    await llm.acheck_health()
    with pytest.raises(errors.NotFoundError):
        make("llm_engine", base_url=f"{llm.base_url}/nowhere").check_health()


async def test_tgi_tells_what_it_is(make: Callable[..., Any], sandbox: Sandbox) -> None:
    llm = make("container")
    assert llm.health()
    assert await llm.ahealth()
    info = llm.info()
    assert (info.model_id, info.max_total_tokens) == ("sandbox", 4096)
    assert (await llm.ainfo()) == info
    assert [model.id for model in llm.list_models()] == ["sandbox"]
    assert [model.id for model in await llm.alist_models()] == ["sandbox"]
    with pytest.raises(errors.NotFoundError):
        make("datacrunch").list_models()
    with pytest.raises(errors.AuthenticationError), DataCrunch(base_url=sandbox.tgi_url) as keyless:
        keyless.info()
