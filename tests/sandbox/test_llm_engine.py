"""The sandbox answers as LLM Engine's reference says that the gateway does."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import (
    Cut,
    EndEarly,
    ErrorEvent,
    HTTPError,
    LLMEngineOptions,
    Reply,
    Sandbox,
    ScriptedEngine,
    Stall,
    run,
)
from linkspan_sandbox.llm_engine_endpoints import ModelEndpoint
from tests.sandbox.conftest import OLD_PODS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator

    from linkspan_sandbox import Call, Piece

VLLM = "llama-2-7b"
CHAT = "llama-3-8b-instruct"


class Client:
    """LLM Engine's dialect over httpx."""

    def __init__(self, base_url: str) -> None:
        self.http = httpx.Client(base_url=base_url, auth=("any-key", ""), timeout=60, trust_env=False, verify=False)

    def ask(
        self, text: str = "Hello there", model: str = VLLM, *, stream: bool = False, **fields: Any
    ) -> httpx.Response:
        body = {"prompt": text, "max_new_tokens": 20, "temperature": 0.2, **fields}
        route = "stream" if stream else "sync"
        return self.http.post(f"/v1/llm/completions-{route}", params={"model_endpoint_name": model}, json=body)

    def events(self, text: str = "Hello there", model: str = VLLM, **fields: Any) -> list[dict[str, Any]]:
        return events_of(self.ask(text, model, stream=True, **fields))

    def chat(self, text: str = "Hello there", **fields: Any) -> httpx.Response:
        body = {"model": CHAT, "messages": [{"role": "user", "content": text}], **fields}
        return self.http.post("/v2/chat/completions", json=body)


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    *blocks, rest = response.content.decode().split("\r\n\r\n")
    assert rest == ""
    return [json.loads(block.removeprefix("data: ")) for block in blocks if not block.startswith(":")]


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["output"]["text"] for event in events)


def detail(response: httpx.Response, status: int) -> Any:
    assert response.status_code == status
    return response.json()["detail"]


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made = Client(sandbox.llm_engine_url)
    with made.http:
        yield made


class TestPrompt:
    def test_answers_with_explicit_nulls(self, client: Client) -> None:
        body = client.ask("Hello there").json()
        assert uuid.UUID(body.pop("request_id"))
        assert body == {
            "output": {"text": "Hello there", "num_prompt_tokens": 2, "num_completion_tokens": 2, "tokens": None}
        }

    def test_has_the_chosen_tokens_where_asked(self, client: Client) -> None:
        output = client.ask("Hello there", return_token_log_probs=True).json()["output"]
        assert output["tokens"] == [
            {"token": "Hello", "log_prob": -0.25},
            {"token": " there", "log_prob": -0.25},
        ]

    def test_streams_deltas_in_one_shape_without_an_end_marker(self, client: Client) -> None:
        events = client.events("Hello there")
        assert [event["output"]["text"] for event in events] == ["Hello", " there", ""]
        assert [event["output"]["finished"] for event in events] == [False, False, True]
        assert len({event["request_id"] for event in events}) == 1
        for event in events:
            assert list(event) == ["request_id", "output", "error"]
            assert event["error"] is None
            assert event["output"]["num_completion_tokens"] == 0
        assert [event["output"]["num_prompt_tokens"] for event in events] == [None, None, 0]

    def test_streams_tokens_where_asked(self, client: Client) -> None:
        first, *_, last = client.events("Hello there", return_token_log_probs=True)
        assert first["output"]["token"] == {"token": "Hello", "log_prob": -0.25}
        assert last["output"]["token"] is None

    def test_counts_in_streams_as_older_vllm_does_if_told(self) -> None:
        with run(llm_engine_options=LLMEngineOptions(stream_counts=True)) as sandbox:
            events = Client(sandbox.llm_engine_url).events("Hello there")
        assert [event["output"]["num_completion_tokens"] for event in events] == [1, 2, 2]
        assert [event["output"]["num_prompt_tokens"] for event in events] == [None, None, 2]

    def test_sends_separators_of_unicode_as_they_are(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("one\u2028two\u0085three é")
        response = client.ask(stream=True)
        for text in ("\u2028", "\u0085", "é"):
            assert text.encode() in response.content
        assert text_of(events_of(response)) == "one\u2028two\u0085three é"

    def test_leaves_the_stop_text_out_unless_told(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("one END two")
        assert client.ask(stop_sequences=["END"]).json()["output"]["text"] == "one "
        kept = client.ask(stop_sequences=["END"], include_stop_str_in_output=True)
        assert kept.json()["output"]["text"] == "one END"

    def test_each_framework_has_its_ways(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("one END two")
        stops: dict[str, Any] = {"stop_sequences": ["two", "END"]}
        texts = {
            name: client.ask(model=name, **stops).json()["output"]["text"]
            for name in ("mistral-7b", "llama-7b", "flan-t5-xxl")
        }
        assert texts == {"mistral-7b": "one END", "llama-7b": "one END two", "flan-t5-xxl": "one END "}
        assert not any(event["output"]["finished"] for event in client.events(model="mpt-7b"))
        *_, last = deepspeed = client.events(model="flan-t5-xxl")
        assert last["output"]["text"] == "one END two"
        assert [event["output"]["num_completion_tokens"] for event in deepspeed[:-1]] == [None] * 3

    def test_follows_a_guide_on_old_pods(self, sandboxes: Callable[..., Sandbox]) -> None:
        client = Client(sandboxes(llm_engine_options=OLD_PODS).llm_engine_url)
        assert client.ask(guided_choice=["yes", "no"]).json()["output"]["text"] == "yes"
        assert client.ask(guided_json={"type": "boolean"}).json()["output"]["text"] in ("true", "false")

    def test_ignores_guides_without_a_word_otherwise(self, client: Client) -> None:
        answer = client.ask("Hello there", guided_choice=["yes", "no"])
        assert answer.json()["output"]["text"] == "Hello there"

    def test_passes_everything_on_to_the_engine(self, sandbox: Sandbox, client: Client) -> None:
        seen = []
        sandbox.add_rule(lambda call: seen.append(call) or "ok")  # type: ignore[func-returns-value]
        client.ask(top_k=5, top_p=0.5, presence_penalty=1, stop_sequences=["x"])
        (call,) = seen
        assert (call.api, call.model, call.prompt, call.max_tokens) == ("llm_engine", VLLM, "Hello there", 20)
        assert call.parameters == {"temperature": 0.2, "top_k": 5, "top_p": 0.5, "presence_penalty": 1.0}
        assert list(call.stop) == ["x"]


class Held(ScriptedEngine):
    """The scripted engine, which says nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        return self._answer(call)

    async def _answer(self, call: Call) -> AsyncGenerator[Piece, None]:
        await asyncio.to_thread(self.go.wait)
        async with contextlib.aclosing(super().answer(call)) as pieces:
            async for piece in pieces:
                yield piece


class TestPings:
    def test_keep_a_silent_stream_alive(self, sandbox: Sandbox) -> None:
        engine = Held()
        with run(engine, llm_engine_options=LLMEngineOptions(ping_seconds=0.02)) as pinging:
            received = b""
            body = {"prompt": "late", "max_new_tokens": 5, "temperature": 0}
            url = f"/v1/llm/completions-stream?model_endpoint_name={VLLM}"
            with Client(pinging.llm_engine_url).http.stream("POST", url, json=body) as response:
                for chunk in response.iter_raw():
                    received += chunk
                    if received.count(b": ping - ") >= 3:  # a slow reader gets several at once
                        engine.go.set()
        assert received.startswith(b": ping - ")
        assert b'"text":"late"' in received.replace(b'": "', b'":"')

    def test_come_while_it_is_stalled_and_nothing_is_left_when_the_client_goes(self) -> None:
        with run(llm_engine_options=LLMEngineOptions(ping_seconds=0.02)) as sandbox:
            sandbox.add_rule(Reply("one two", fault=Stall(1)))
            client = Client(sandbox.llm_engine_url)
            body = {"prompt": "x", "max_new_tokens": 5, "temperature": 0}
            url = f"/v1/llm/completions-stream?model_endpoint_name={VLLM}"
            received = b""
            with client.http.stream("POST", url, json=body) as response:
                for chunk in response.iter_raw():
                    received += chunk
                    # A busy machine sends pings before the first event too.
                    if received.partition(b"data: ")[2].count(b": ping") >= 3:
                        break
            sandbox.requests.wait_for(1)
            assert sandbox.last_request.wait_finished()
            assert sandbox.last_request.client_left


class TestRefusals:
    def test_keys(self, sandbox: Sandbox) -> None:
        url = f"{sandbox.llm_engine_url}/v1/llm/model-endpoints"

        def answer(**headers: str) -> tuple[int, Any]:
            found = httpx.get(url, headers=headers, trust_env=False, verify=False)
            return found.status_code, found.json().get("detail")

        basic = base64.b64encode(b"key:").decode()
        assert answer(authorization=f"Basic {basic}")[0] == 200
        assert answer(authorization="bearer key")[0] == 200
        assert answer() == (401, "No authentication was passed in")
        assert answer(**{"x-api-key": "key"}) == (401, "No authentication was passed in")
        assert answer(authorization="Basic ???") == (401, "Not authenticated")
        assert answer(authorization="Bearer") == (401, "Could not authenticate user")
        assert httpx.get(url, trust_env=False, verify=False).headers["www-authenticate"] == "Bearer"

    def test_one_key_alone_if_told(self) -> None:
        with run(api_key="right") as sandbox:
            url = f"{sandbox.llm_engine_url}/v1/llm/model-endpoints"
            assert httpx.get(url, auth=("right", "whatever"), trust_env=False, verify=False).status_code == 200
            assert httpx.get(url, auth=("wrong", ""), trust_env=False, verify=False).status_code == 401

    def test_order_of_checks(self, sandbox: Sandbox) -> None:
        url = f"{sandbox.llm_engine_url}/v1/llm/completions-sync"
        json_type = {"content-type": "application/json"}
        with httpx.Client(trust_env=False, verify=False) as http:
            (error,) = detail(http.post(url, content=b"{", headers=json_type), 422)
            assert (error["type"], error["loc"]) == ("json_invalid", ["body", 1])
            assert detail(http.post(url, json={}), 401) == "No authentication was passed in"
            missing, *rest = detail(http.post(url, json={"prompt": "x"}, auth=("k", "")), 422)
            assert missing == {
                "type": "missing",
                "loc": ["query", "model_endpoint_name"],
                "msg": "Field required",
                "input": None,
            }
            assert [error["loc"] for error in rest] == [["body", "max_new_tokens"], ["body", "temperature"]]
            named = f"{url}?model_endpoint_name=unknown"
            detail(http.post(named, json={"prompt": "x"}, auth=("k", "")), 422)
            (error,) = detail(
                http.post(named, content=b"{}", headers={"content-type": "text/plain"}, auth=("k", "")), 422
            )
            assert error["type"] == "model_attributes_type"

    @pytest.mark.parametrize(
        ("fields", "kind"),
        [
            ({"temperature": 1.5}, "less_than_equal"),
            ({"presence_penalty": -0.5}, "greater_than_equal"),
            ({"top_p": 0}, "greater_than"),
            ({"stop_sequences": "END"}, "list_type"),
            ({"max_new_tokens": 3.5}, "int_from_float"),
        ],
    )
    def test_a_value_out_of_range_is_422(self, client: Client, fields: dict[str, Any], kind: str) -> None:
        (error,) = detail(client.ask(**fields), 422)
        assert (error["type"], error["loc"]) == (kind, ["body", next(iter(fields))])

    def test_a_number_may_be_text_and_unknown_fields_are_ignored(self, client: Client) -> None:
        assert client.ask("a b c d", max_new_tokens="3", seed=1).json()["output"]["text"] == "a b c"

    @pytest.mark.parametrize(
        ("model", "fields", "words"),
        [
            (VLLM, {"temperature": 0, "top_k": 5}, "top_k and top_p can't be enabled when temperature is 0."),
            (VLLM, {"top_k": 0}, "top_k needs to be strictly positive"),
            (VLLM, {"guided_regex": "a", "guided_choice": ["a"]}, "Only one of"),
            ("mistral-7b", {"presence_penalty": 1}, "presence_penalty"),
            ("mistral-7b", {"guided_regex": "a"}, "Guided decoding is only supported in vllm."),
            ("mistral-7b", {"include_stop_str_in_output": False}, "include_stop_str_in_output"),
            ("mpt-7b", {"return_token_log_probs": True}, "return_token_log_probs"),
            ("flan-t5-xxl", {"top_k": -1}, "top_k and top_p"),
            ("qwen2-72b-instruct", {}, "Unsupported inference framework"),
            ("codellama-34b", {}, "codellama-34b"),
        ],
    )
    def test_what_a_framework_cannot_do_is_400(
        self, client: Client, model: str, fields: dict[str, Any], words: str
    ) -> None:
        for stream in (False, True):
            found = detail(client.ask(model=model, stream=stream, **fields), 400)
            assert words in found or "is not a streaming endpoint." in found

    def test_kinds_and_names(self, client: Client) -> None:
        assert client.ask(model="llama-2-13b").status_code == 200
        streamed = client.ask(model="llama-2-13b", stream=True)
        assert detail(streamed, 400) == "Endpoint llama-2-13b is not a streaming endpoint."
        assert detail(client.ask(model="other"), 404) == "Model endpoint other not found."
        assert detail(client.http.get("/v2/models"), 404) == "Not Found"
        assert detail(client.http.get("/v2/chat/completions"), 405) == "Method Not Allowed"

    def test_names_of_ones_own(self) -> None:
        endpoints = {"org/my model&more": ModelEndpoint()}
        with run(llm_engine_options=LLMEngineOptions(endpoints=endpoints)) as sandbox:
            client = Client(sandbox.llm_engine_url)
            assert client.ask(model="org/my model&more").status_code == 200
            raw = "/v1/llm/completions-sync?model_endpoint_name=org/my model&more"
            body = {"prompt": "x", "max_new_tokens": 5, "temperature": 0}
            assert detail(client.http.post(raw, json=body), 404) == "Model endpoint org/my model not found."
            assert client.http.get("/v1/llm/model-endpoints/org%2Fmy%20model%26more").status_code == 404


class TestFailures:
    def test_of_the_models_server_before_the_first_token(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("x", fault=ErrorEvent(0, "bad prompt", 400)), times=2)
        assert detail(client.ask(), 400) == "bad prompt"
        (event,) = client.events()
        assert event["output"] is None
        assert event["error"]["status_code"] == 400
        assert "'message': 'bad prompt'" in event["error"]["content"]["error"]
        sandbox.add_rule(Reply("x", fault=ErrorEvent(0, "no", 503)))
        assert detail(client.ask(), 500).startswith("Upstream service error for request_id ")
        (event,) = client.events()
        assert event["error"]["content"]["error"] == f"Upstream service error for request_id {event['request_id']}"
        assert event["error"]["content"]["timestamp"].endswith(" PST")

    def test_in_the_middle_of_a_stream(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("one two", fault=ErrorEvent(1)))
        first, failure = client.events()
        assert first["output"]["text"] == "one"
        assert failure["error"]["content"]["error"] == "Internal error occurred. Our team has been notified."

    def test_a_prompt_that_is_too_long(self, client: Client) -> None:
        assert "maximum context length is 4096" in detail(client.ask("x " * 5000), 400)

    @pytest.mark.parametrize("stream", [False, True])
    def test_statuses_with_the_gateways_own_bodies(self, sandbox: Sandbox, client: Client, stream: bool) -> None:
        for status, key in ((429, "error"), (500, "error"), (404, "detail"), (410, "detail")):
            sandbox.add_rule(Reply(fault=HTTPError(status)), times=1)
            response = client.ask(stream=stream)
            assert response.status_code == status
            assert key in response.json()
        sandbox.add_rule(Reply(fault=HTTPError(502, "<html>", {"x-proxy": "1"})))
        response = client.ask(stream=stream)
        assert (response.status_code, response.text, response.headers["x-proxy"]) == (502, "<html>", "1")

    def test_connections(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("x", fault=Cut(None)), times=2)
        for stream in (False, True):
            with pytest.raises(httpx.RemoteProtocolError):
                client.ask(stream=stream)
        sandbox.add_rule(Reply("one two", fault=EndEarly(1)))
        assert [event["output"]["finished"] for event in client.events()] == [False]

    def test_events_and_bodies_exactly_as_given(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(events=[{"output": None, "error": None}]), times=1)
        assert client.events() == [{"output": None, "error": None}]
        sandbox.add_rule(Reply(body={"request_id": None, "output": None}))
        assert client.ask().json() == {"request_id": None, "output": None}


class TestChat:
    def test_answers_under_the_endpoints_name(self, client: Client) -> None:
        body = client.chat("Hello there").json()
        assert (body["object"], body["model"]) == ("chat.completion", CHAT)
        (choice,) = body["choices"]
        assert choice["finish_reason"] == "stop"
        assert choice["message"]["content"] == "Hello there"
        assert choice["message"]["tool_calls"] is None
        assert body["usage"]["total_tokens"] == 4

    def test_streams_without_an_end_marker_and_with_usage_if_asked(self, client: Client) -> None:
        *chunks, last = events_of(client.chat("Hello there", stream=True))
        assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in [*chunks, last]) == "Hello there"
        assert last["choices"][0]["finish_reason"] == "stop"
        assert "finish_reason" not in chunks[0]["choices"][0]
        *_, usage = events_of(client.chat(stream=True, stream_options={"include_usage": True}))
        assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 4)

    def test_tools_and_reasoning(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(reasoning="Hm", tool_calls=[ToolCall("call-1", "look", '{"a": 1}')]))
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        message = client.chat(tools=tools).json()["choices"][0]["message"]
        assert (message["content"], message["reasoning_content"]) == (None, "Hm")
        assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a": 1}'}
        deltas = [event["choices"][0]["delta"] for event in events_of(client.chat(tools=tools, stream=True))]
        assert [tuple(delta) for delta in deltas][:3] == [
            ("role", "content"),
            ("reasoning_content",),
            ("tool_calls",),
        ]

    def test_follows_guided_json_on_old_pods_but_no_response_format(self, sandboxes: Callable[..., Sandbox]) -> None:
        client = Client(sandboxes(llm_engine_options=OLD_PODS).llm_engine_url)
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        guided = client.chat(guided_json=schema).json()["choices"][0]["message"]["content"]
        assert list(json.loads(guided)) == ["n"]
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        assert client.chat("Hi", response_format=wanted).json()["choices"][0]["message"]["content"] == "Hi"

    def test_refusals(self, client: Client) -> None:
        errors = detail(client.chat(messages=[{"role": "narrator", "content": "x"}]), 422)
        assert len(errors) > 6
        assert {"ChatCompletionRequestUserMessage"} <= {str(error["loc"][3]) for error in errors}
        (error,) = detail(client.chat(stop=["1", "2", "3", "4", "5"]), 422)[-1:]
        assert error["type"] == "too_long"
        assert detail(client.chat(model="zephyr-7b-beta"), 410).startswith("The endpoint zephyr-7b-beta is deprecated.")
        assert client.chat(model=VLLM).status_code == 400
        assert detail(client.chat(guided_regex="a", guided_grammar="b"), 400)["object"] == "error"
        streamed = client.chat(guided_regex="a", guided_grammar="b", stream=True)
        assert (streamed.status_code, "error" in streamed.json()) == (500, True)

    def test_failures(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("one two", fault=ErrorEvent(1)))
        *_, failure = events_of(client.chat(stream=True))
        assert list(failure) == ["error"]
        assert failure["error"]["status_code"] == 500


class TestDeployment:
    def test_lists_endpoints_of_every_framework(self, client: Client) -> None:
        rows = client.http.get("/v1/llm/model-endpoints").json()["model_endpoints"]
        assert {row["inference_framework"] for row in rows} == {
            "vllm",
            "sglang",
            "text_generation_inference",
            "lightllm",
            "deepspeed",
            "tensorrt_llm",
        }
        assert {row["spec"]["endpoint_type"] for row in rows} == {"streaming", "sync", "async"}
        (one,) = client.http.get("/v1/llm/model-endpoints", params={"name": VLLM}).json()["model_endpoints"]
        assert one == client.http.get(f"/v1/llm/model-endpoints/{VLLM}").json()
        assert detail(client.http.get("/v1/llm/model-endpoints/x"), 404) == "Model Endpoint x  was not found."

    @pytest.mark.parametrize("route", ["healthcheck", "healthz", "readyz"])
    def test_tells_its_health_without_a_key(self, sandbox: Sandbox, route: str) -> None:
        response = httpx.get(f"{sandbox.llm_engine_url}/{route}", trust_env=False, verify=False)
        assert (response.status_code, response.content) == (200, b"")


class TestLocalModel:
    @pytest.fixture
    def local(self, local: Sandbox) -> Client:
        return Client(local.llm_engine_url)

    def test_answers_prompts_alike_whole_and_streamed(self, local: Client) -> None:
        fields: dict[str, Any] = {"temperature": 0, "max_new_tokens": 4, "return_token_log_probs": True}
        output = local.ask("The capital of France is", **fields).json()["output"]
        assert "Paris" in output["text"]
        assert (output["num_prompt_tokens"], output["num_completion_tokens"]) == (5, 4)
        assert "".join(token["token"] for token in output["tokens"]) == output["text"]
        assert text_of(local.events("The capital of France is", **fields)) == output["text"]

    def test_follows_guides_on_both_apis(self, local: Client) -> None:
        assert local.ask("Colour?", guided_choice=["red", "blue"]).json()["output"]["text"] in ("red", "blue")
        schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 2}}, "required": ["city"]}
        answer = local.chat("Which city?", guided_json=schema, max_tokens=50).json()
        assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["city"]

    def test_says_what_it_cannot_do(self, local: Client) -> None:
        assert "regular expression" in detail(local.ask(guided_regex="[a-z]+"), 400)


@pytest.mark.parametrize("route", ["prompt", "chat"])
def test_too_many_calls_at_once_are_429_before_anything_else(route: str) -> None:
    with run(llm_engine_options=LLMEngineOptions(max_concurrent_requests=0)) as sandbox:
        path = "v2/chat/completions" if route == "chat" else "v1/llm/completions-stream"
        refused = httpx.post(f"{sandbox.llm_engine_url}/{path}", content=b"", trust_env=False, verify=False)
        assert httpx.get(f"{sandbox.llm_engine_url}/healthz", trust_env=False, verify=False).status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error"] == "Too many requests"
    assert "retry-after" not in refused.headers


def test_rules_can_be_for_this_api_alone(sandbox: Sandbox, client: Client) -> None:
    assert isinstance(sandbox.engine, ScriptedEngine)
    sandbox.add_rule("prompted", api="llm_engine")
    assert client.ask().json()["output"]["text"] == "prompted"
