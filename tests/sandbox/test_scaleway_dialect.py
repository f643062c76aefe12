"""The sandbox answers as Scaleway's reference says that the service does."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from linkspan.conversation import ToolCall, Usage
from linkspan_sandbox import Reply, Sandbox, ScalewayOptions, run
from linkspan_sandbox.scaleway import Model
from tests.sandbox.conftest import MODEL, Client, deltas, text_of

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
        },
    },
}


class TestAnswer:
    def test_has_the_shape_that_vllm_gives(self, client: Client) -> None:
        answer = client.post("Hello there").json()
        assert answer.pop("id").startswith("chatcmpl-")
        assert isinstance(answer.pop("created"), int)
        assert answer == {
            "object": "chat.completion",
            "model": MODEL,
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": "Hello there",
                        "refusal": None,
                        "annotations": None,
                        "audio": None,
                        "function_call": None,
                        "tool_calls": [],
                        "reasoning": None,
                    },
                    "logprobs": None,
                    "finish_reason": "stop",
                    "stop_reason": None,
                    "token_ids": None,
                }
            ],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": {
                "prompt_tokens": 2,
                "total_tokens": 4,
                "completion_tokens": 2,
                "prompt_tokens_details": None,
            },
            "prompt_logprobs": None,
            "prompt_token_ids": None,
            "kv_transfer_params": None,
        }

    def test_names_the_model_that_answers_after_the_end_of_life_of_another(self, client: Client) -> None:
        assert client.post(model="devstral-2-123b-instruct-2512").json()["model"] == "qwen3.5-397b-a17b"

    def test_reports_cached_tokens_where_there_are_any(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("yes", usage=Usage(300, 1, 301, cached_tokens=256)))
        assert client.post().json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 256}

    def test_has_null_content_beside_tool_calls(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(tool_calls=[ToolCall("call-1", "weather", '{"city": "Nice"}')]))
        choice = client.post(tools=[WEATHER]).json()["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None
        assert choice["message"]["tool_calls"] == [
            {"id": "call-1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Nice"}'}}
        ]

    def test_has_log_probabilities_only_when_asked(self, client: Client) -> None:
        logprobs = client.post("two words", logprobs=True).json()["choices"][0]["logprobs"]["content"]
        assert [entry["token"] for entry in logprobs] == ["two", " words"]
        assert logprobs[0]["bytes"] == [116, 119, 111]
        assert logprobs[0]["top_logprobs"] == []
        assert client.post("two words").json()["choices"][0]["logprobs"] is None

    def test_has_a_request_id_of_its_own_each_time(self, client: Client) -> None:
        ids = {client.post().headers["x-request-id"] for _ in range(3)}
        assert len({uuid.UUID(one) for one in ids}) == 3


class TestStream:
    def test_opens_with_the_role_and_ends_with_a_marker(self, client: Client) -> None:
        events = client.events("Hello there")
        assert deltas(events) == [
            {"role": "assistant", "content": ""},
            {"content": "Hello"},
            {"content": " there"},
            {"content": ""},
        ]
        assert events[-1] == "[DONE]"
        assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None, None, None, "stop"]
        assert len({event["id"] for event in events[:-1]}) == 1

    def test_has_usage_only_when_asked_and_then_in_a_chunk_without_choices(self, client: Client) -> None:
        assert not any("usage" in event for event in client.events()[:-1])
        *_, last, marker = client.events(stream_options={"include_usage": True})
        assert marker == "[DONE]"
        assert last["choices"] == []
        assert last["usage"]["total_tokens"] == 4

    def test_has_reasoning_before_the_text_one_kind_per_chunk(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("Yes.", reasoning="Let me think"))
        kinds = [tuple(delta) for delta in deltas(client.events())]
        assert kinds == [("role", "content"), *[("reasoning",)] * 3, ("content",), ("content",)]

    def test_names_a_tool_first_and_sends_its_arguments_after_that(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(tool_calls=[ToolCall("a", "weather", '{"city": "Nice"}'), ToolCall("b", "f", "{}")]))
        calls = [delta["tool_calls"][0] for delta in deltas(client.events(tools=[WEATHER])) if "tool_calls" in delta]
        assert calls == [
            {"id": "a", "type": "function", "index": 0, "function": {"name": "weather"}},
            {"index": 0, "function": {"arguments": '{"city":'}},
            {"index": 0, "function": {"arguments": ' "Nice"}'}},
            {"id": "b", "type": "function", "index": 1, "function": {"name": "f"}},
            {"index": 1, "function": {"arguments": "{}"}},
        ]

    def test_sends_line_separators_of_unicode_as_they_are(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("one\u2028two\u0085three é")
        response = client.post(stream=True)
        assert "\u2028".encode() in response.content
        assert "é".encode() in response.content

    def test_ends_a_call_that_was_forced_by_name_with_stop(self, client: Client) -> None:
        choice = {"type": "function", "function": {"name": "weather"}}
        finish = [
            event["choices"][0]["finish_reason"] for event in client.events(tools=[WEATHER], tool_choice=choice)[:-1]
        ]
        assert finish[-1] == "stop"


class TestErrors:
    def test_missing_key_is_401(self, sandbox: Sandbox) -> None:
        for request in (
            httpx.Request("POST", f"{sandbox.scaleway_url}/chat/completions", json={}),
            httpx.Request("GET", f"{sandbox.scaleway_url}/models"),
        ):
            with httpx.Client(trust_env=False, verify=False) as http:
                response = http.send(request)
            assert (response.status_code, response.json()) == (
                401,
                {"status": 401, "error": "UNAUTHORIZED", "message": "missing 'Authorization' header"},
            )
            assert response.headers["x-request-id"]

    def test_wrong_key_is_403(self) -> None:
        with run(api_key="right") as sandbox:
            wrong = Client(sandbox.scaleway_url, "wrong").post()
            assert (wrong.status_code, wrong.json()["error"]) == (403, "FORBIDDEN")
            assert Client(sandbox.scaleway_url, "right").post().status_code == 200

    @pytest.mark.parametrize("header", ["Bearer", "Basic any-key"])
    def test_header_without_a_bearer_key_is_403(self, client: Client, header: str) -> None:
        client.http.headers["authorization"] = header
        assert client.post().status_code == 403

    def test_unknown_route_is_404(self, client: Client) -> None:
        response = client.http.post("/completions", json={})
        assert response.json() == {"status": 404, "error": "NOT FOUND", "message": "route not found"}

    def test_unknown_model_is_422(self, client: Client) -> None:
        response = client.post(model="gpt-4")
        assert (response.status_code, response.json()["message"]) == (422, "model 'gpt-4' not found")

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_output_cap_is_hard(self, client: Client, name: str) -> None:
        assert client.post(model="glm-5.2", **{name: 16384}).status_code == 200
        response = client.post(model="glm-5.2", **{name: 16385})
        assert (response.status_code, response.json()) == (
            400,
            {
                "status": 400,
                "error": "BAD REQUEST",
                "message": "payload validation: max_completion_tokens is limited to 16384 for glm-5.2",
            },
        )

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"temperature": 999}, "temperature"),
            ({"top_p": -1}, "top_p"),
            ({"presence_penalty": "high"}, "presence_penalty"),
            ({"n": 2}, "n is limited"),
            ({"model": "mistral-medium-3.5-128b", "reasoning_effort": "low"}, "['none', 'high']"),
        ],
    )
    def test_gateway_refuses_values_out_of_range(self, client: Client, fields: dict[str, Any], word: str) -> None:
        response = client.post(**fields)
        assert response.status_code == 400
        assert response.json()["error"] == "BAD REQUEST"
        assert word in response.json()["message"]

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"messages": []}, "messages"),
            ({"messages": [{"role": "data", "content": "x"}]}, "role"),
            ({"messages": [{"role": "user", "content": None}]}, "content"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "tool_call_id"),
            ({"tools": []}, "tools"),
            ({"tools": [{"name": "weather"}]}, "tools[0]"),
            ({"tool_choice": "required"}, "tools"),
            ({"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "rain"}}}, "rain"),
            ({"max_tokens": 0}, "max_tokens"),
            ({"max_tokens": True}, "max_tokens"),
            ({"stop": 3}, "stop"),
            ({"stream_options": {"include_usage": True}}, "stream=True"),
            ({"response_format": {"type": "xml"}}, "response_format"),
            ({"response_format": {"type": "json_schema"}}, "json_schema"),
        ],
    )
    def test_model_server_refuses_what_it_cannot_read(self, client: Client, fields: dict[str, Any], word: str) -> None:
        response = client.post(**fields)
        error = response.json()["error"]
        assert (response.status_code, error["type"], error["code"]) == (400, "BadRequestError", 400)
        assert word in error["message"]

    def test_broken_json_is_400(self, client: Client) -> None:
        response = client.http.post("/chat/completions", content=b'{"model"')
        assert (response.status_code, response.json()["error"]) == (400, "BAD REQUEST")

    def test_prompt_that_does_not_fit_is_a_nested_error(self) -> None:
        options = ScalewayOptions(models={"tiny": Model(10, 5)})
        with run(scaleway_options=options) as sandbox:
            response = Client(sandbox.scaleway_url).post("word " * 8, model="tiny", max_tokens=5)
        assert response.status_code == 400
        assert "maximum context length is 10 tokens" in response.json()["error"]["message"]

    def test_legacy_models_have_a_body_of_their_own(self) -> None:
        with run(scaleway_options=ScalewayOptions(model_errors="legacy")) as sandbox:
            body = Client(sandbox.scaleway_url).post(max_tokens=0).json()
        assert (body["object"], body["code"]) == ("error", 400)


class TestVariants:
    def test_older_models_call_the_reasoning_otherwise(self) -> None:
        options = ScalewayOptions(reasoning_field="reasoning_content")
        with run(scaleway_options=options) as sandbox:
            sandbox.add_rule(Reply("Yes.", reasoning="Hm."))
            client = Client(sandbox.scaleway_url)
            assert client.post().json()["choices"][0]["message"]["reasoning_content"] == "Hm."
            assert {"reasoning_content": "Hm."} in deltas(client.events())

    def test_dedicated_deployments_send_running_totals(self) -> None:
        with run(scaleway_options=ScalewayOptions(usage_on_every_chunk=True)) as sandbox:
            events = Client(sandbox.scaleway_url).events("one two three")[1:-1]
        assert [event["usage"]["completion_tokens"] for event in events] == [1, 2, 3, 3]

    def test_rate_limit_is_told_and_enforced_per_model(self) -> None:
        with run(scaleway_options=ScalewayOptions(requests_per_minute=2)) as sandbox:
            client = Client(sandbox.scaleway_url)
            remaining = [client.post().headers["x-ratelimit-remaining-requests"] for _ in range(2)]
            refused = client.post()
            assert client.post(model="glm-5.2").status_code == 200
        assert remaining == ["1", "0"]
        assert (refused.status_code, refused.json()["error"]) == (429, "INSUFFICIENT QUOTA")
        assert refused.headers["x-ratelimit-limit-requests"] == "2"
        assert refused.headers["x-ratelimit-reset-requests"].endswith("ms")

    def test_limit_of_tokens_counts_prompts_and_answers(self) -> None:
        with run(scaleway_options=ScalewayOptions(tokens_per_minute=8)) as sandbox:
            client = Client(sandbox.scaleway_url)
            answers = [client.post("one two"), client.post("one two", stream=True), client.post("one two")]
            assert client.post(model="glm-5.2").status_code == 200
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining-tokens"] for answer in answers] == ["8", "4", "0"]
        refused = answers[-1]
        assert refused.json()["message"] == "You exceeded your current quota of tokens per minute"
        assert refused.headers["x-ratelimit-limit-tokens"] == "8"
        assert refused.headers["x-ratelimit-reset-tokens"].endswith("ms")

    def test_vectors_count_as_well(self) -> None:
        with run(scaleway_options=ScalewayOptions(tokens_per_minute=3)) as sandbox:
            client = Client(sandbox.scaleway_url)
            body = {"model": "qwen3-embedding-8b", "input": "one two three"}
            statuses = [client.http.post("/embeddings", json=body).status_code for _ in range(2)]
        assert statuses == [200, 429]

    def test_account_without_payment_method_lists_models_but_cannot_infer(self) -> None:
        with run(scaleway_options=ScalewayOptions(requests_per_minute=0)) as sandbox:
            client = Client(sandbox.scaleway_url)
            assert client.http.get("/models").status_code == 200
            refused = client.post()
        assert (refused.status_code, refused.headers["x-ratelimit-limit-requests"]) == (429, "0")


def test_models_are_listed_without_the_retired_ones(client: Client) -> None:
    listed = client.http.get("/models").json()
    ids = [entry["id"] for entry in listed["data"]]
    assert listed["object"] == "list"
    assert MODEL in ids
    assert "llama-3.1-8b-instruct" not in ids


def test_project_url_works_like_the_plain_one(sandbox: Sandbox) -> None:
    project = f"{sandbox.url}/scaleway/11111111-2222-3333-4444-555555555555/v1"
    assert text_of(Client(project).events("Hello there")) == "Hello there"
    assert sandbox.last_request.path.startswith("/scaleway/11111111-")


def test_health_needs_no_key(sandbox: Sandbox) -> None:
    response = httpx.get(f"{sandbox.url}/healthz", trust_env=False, verify=False)
    assert response.json() == {"status": "ok", "engine": "scripted", "model": None}
