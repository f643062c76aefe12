"""The Gray Swan dialect, as a client sees it: requests, answers, streams, errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.conversation import ToolCall
from linkspan_sandbox import Cut, ErrorEvent, HTTPError, Reply, Sandbox, local_model
from tests.sandbox.conftest import deltas, parse_events, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PATH = "/chat/completion"
WEATHER = {"name": "weather", "description": "tells it", "parameters": {"type": "object", "properties": {}}}
TOOL = {"type": "function", "function": WEATHER}


class Client:
    """Gray Swan's dialect over httpx."""

    def __init__(self, sandbox: Sandbox) -> None:
        headers = {"authorization": "Bearer any"}
        self.http = httpx.Client(
            base_url=sandbox.gray_swan_url, headers=headers, timeout=60, trust_env=False, verify=False
        )

    def post(self, text: str = "Hello there", **fields: Any) -> httpx.Response:
        return self.http.post(PATH, json={"model": "cygnet", "messages": [{"role": "user", "content": text}], **fields})

    def events(self, text: str = "Hello there", **fields: Any) -> list[Any]:
        response = self.post(text, stream=True, **fields)
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        return parse_events(response.text)


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[Client]:
    made = Client(sandbox)
    with made.http:
        yield made


def test_a_whole_answer_has_the_published_shape(client: Client) -> None:
    response = client.post("Hello there")
    body = response.json()
    assert body.keys() == {"id", "object", "created", "model", "choices", "system_fingerprint", "usage"}
    assert (body["object"], body["model"]) == ("chat.completion", "cygnet")
    assert body["choices"] == [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "Hello there", "tool_calls": None},
            "logprobs": None,
        }
    ]
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert "x-request-id" not in response.headers


def test_a_stream_opens_with_the_role_has_no_usage_and_ends_with_a_marker(client: Client) -> None:
    *events, marker = client.events("Hello there")
    assert marker == "[DONE]"
    assert deltas(events) == [{"role": "assistant", "content": ""}, {"content": "Hello"}, {"content": " there"}, {}]
    assert [event["choices"][0]["finish_reason"] for event in events] == [None, None, None, "stop"]
    assert not any("usage" in event for event in events)


def test_the_data_role_reaches_the_engine(client: Client, sandbox: Sandbox) -> None:
    seen: list[Any] = []
    sandbox.add_rule(lambda call: seen.append(call) or "ok")  # type: ignore[func-returns-value]
    messages = [{"role": "user", "content": "Q"}, {"role": "data", "content": "D"}]
    assert client.post(messages=messages).json()["choices"][0]["message"]["content"] == "ok"
    assert (seen[0].api, seen[0].last_role, seen[0].messages) == ("gray_swan", "data", messages)


def test_undocumented_fields_are_ignored(client: Client, sandbox: Sandbox) -> None:
    seen: list[Any] = []
    sandbox.add_rule(lambda call: seen.append(call) or "one END two")  # type: ignore[func-returns-value]
    answer = client.post(stop=["END"], response_format={"type": "json_object"}, seed="no number", stream_options={})
    assert answer.json()["choices"][0]["message"]["content"] == "one END two"
    assert (seen[0].stop, seen[0].response_format, seen[0].parameters) == ([], None, {})


def test_several_answers(client: Client) -> None:
    body = client.post("Hi", n=2).json()
    assert [(choice["index"], choice["message"]["content"]) for choice in body["choices"]] == [(0, "Hi"), (1, "Hi")]
    assert body["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
    *events, marker = client.events("Hi", n=2)
    assert marker == "[DONE]"
    assert [event["choices"][0]["index"] for event in events] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("choice", ["auto", {"type": "function", "function": {"name": "weather"}}])
def test_tool_calls(client: Client, sandbox: Sandbox, choice: Any) -> None:
    sandbox.add_rule(Reply(tool_calls=[ToolCall("c1", "weather", '{"city": "Nice"}')]))
    (answer,) = client.post(tools=[TOOL], tool_choice=choice).json()["choices"]
    called = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Nice"}'}}
    assert (answer["finish_reason"], answer["message"]["content"]) == ("tool_calls", None)
    assert answer["message"]["tool_calls"] == [called]
    pieces = [delta["tool_calls"][0] for delta in deltas(client.events(tools=[TOOL])) if "tool_calls" in delta]
    assert pieces[0]["id"] == "c1"
    assert "".join(piece["function"].get("arguments", "") for piece in pieces) == '{"city": "Nice"}'


def test_results_of_tools_may_come_as_tool(client: Client) -> None:
    result = {"role": "tool", "tool_call_id": "c1", "content": "sunny"}
    assert client.post(messages=[{"role": "user", "content": "Q"}, result]).status_code == 200


@pytest.mark.parametrize("key", [None, "Bearer", "Basic any"])
def test_without_a_key_it_is_401(client: Client, key: str | None) -> None:
    headers = {} if key is None else {"authorization": key}
    answer = httpx.post(
        str(client.http.base_url.join("chat/completion")), headers=headers, trust_env=False, verify=False
    )
    assert answer.status_code == 401
    assert answer.json()["error"] is True
    assert answer.json().keys() == {"error", "message", "detail", "error_code", "details"}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "developer", "content": "x"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "messages"),
        ({"model": None}, "model"),
        ({"n": 0}, "n"),
        ({"n": True}, "n"),
        ({"moderate_before": "yes"}, "moderate_before"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),
    ],
)
def test_a_body_of_the_wrong_shape_is_422(client: Client, fields: dict[str, Any], place: str) -> None:
    answer = client.post(**fields)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"] == ["body", place]
    assert problem["msg"]


@pytest.mark.parametrize("content", [b"{", b"[]"])
def test_a_body_that_is_no_object_is_422(client: Client, content: bytes) -> None:
    answer = client.http.post(PATH, content=content)
    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body"])


def test_other_routes_and_methods_are_unknown(client: Client) -> None:
    assert client.http.post("/chat/completions").json() == {"detail": "Not Found"}
    assert client.http.post("/chat/completions").status_code == 404
    assert client.http.get(PATH).status_code == 405


def test_a_prompt_beyond_the_window_is_400(client: Client) -> None:
    answer = client.post("word " * 20, max_tokens=8190)
    assert (answer.status_code, answer.json()["error"]) == (400, True)
    assert "maximum context length is 8192" in answer.json()["message"]


def test_told_failures(client: Client, sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(429, headers={"retry-after": "7"})), times=1)
    answer = client.post()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.json()["error_code"] == "TOO_MANY_REQUESTS"
    sandbox.add_rule(Reply("a b", fault=ErrorEvent(after=1, message="told so")), times=1)
    assert client.events()[-1] == {
        "error": True,
        "message": "told so",
        "detail": "Internal Server Error",
        "error_code": "INTERNAL_SERVER_ERROR",
        "details": None,
    }
    sandbox.add_rule(Reply("a b", fault=Cut(after=1)), times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        client.events()


def test_the_local_model_reads_data(local: Sandbox) -> None:
    client = Client(local)
    messages = [{"role": "user", "content": "What is the capital?"}, {"role": "data", "content": "Capital: Ostra."}]
    options = {"messages": messages, "temperature": 0, "max_tokens": 3}
    whole = client.post(**options).json()
    assert whole["model"] == local_model.MODEL_NAME
    assert whole["choices"][0]["message"]["content"].strip()
    without = client.post(messages=messages[:1], temperature=0, max_tokens=1).json()
    # Untrusted text, and the words that mark it.
    assert whole["usage"]["prompt_tokens"] > without["usage"]["prompt_tokens"] + 10
    *events, marker = client.events(**options)
    assert marker == "[DONE]"
    assert text_of(events) == whole["choices"][0]["message"]["content"]
    client.http.close()
