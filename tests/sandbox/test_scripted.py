"""The scripted engine: rules, the echo, limits, and everything that can go wrong on order."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import httpx
import pytest

from linkspan.conversation import ToolCall
from linkspan.errors import ConfigurationError
from linkspan_sandbox import Call, Cut, EndEarly, ErrorEvent, HTTPError, Reply, Rule, Sandbox, Stall, run
from linkspan_sandbox.schema_example import example_of
from tests.sandbox.conftest import Client, deltas, parse_events, text_of


def answer(response: httpx.Response) -> str:
    return response.json()["choices"][0]["message"]["content"]


class TestRules:
    def test_first_that_matches_answers_in_the_order_of_adding(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("sunny", when="weather")
        sandbox.add_rule("a number", when=re.compile(r"\d+"))
        sandbox.add_rule("anything")
        assert [answer(client.post(text)) for text in ("the weather in 2025", "in 2025", "now")] == [
            "sunny",
            "a number",
            "anything",
        ]
        assert [rule.used for rule in sandbox.rules] == [1, 1, 1]

    def test_predicate_and_function_see_the_whole_call(self, sandbox: Sandbox, client: Client) -> None:
        def reply(call: Call) -> str:
            return f"{call.api} {call.parameters['temperature']} {call.stream}"

        sandbox.add_rule(reply, when=lambda call: call.max_tokens == 7)
        assert answer(client.post(max_tokens=7, temperature=0.5)) == "scaleway 0.5 False"
        assert answer(client.post("else", max_tokens=8)) == "else"

    def test_role_tells_the_turn_after_a_tool(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("It is sunny.", role="tool")
        sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "weather", "{}")]))
        first = client.post("Weather?").json()["choices"][0]["message"]
        call_id = first["tool_calls"][0]["id"]
        history = [
            {"role": "user", "content": "Weather?"},
            first,
            {"role": "tool", "tool_call_id": call_id, "content": "sunny"},
        ]
        assert answer(client.post(messages=history)) == "It is sunny."

    def test_times_lets_a_rule_run_out(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(fault=HTTPError(503)), times=2)
        assert [client.post().status_code for _ in range(3)] == [503, 503, 200]

    def test_can_be_given_at_the_start(self) -> None:
        with run(rules=[Rule("Paris", when="capital")]) as sandbox:
            assert answer(Client(sandbox.scaleway_url).post("the capital?")) == "Paris"

    @pytest.mark.parametrize(
        ("rule", "words"),
        [
            ({"reply": ["a", "list"]}, r"a rule's reply must be .*, not \['a', 'list'\]"),
            ({"reply": HTTPError(429)}, r"a rule's reply must be .* Reply\(fault=...\)"),
            ({"when": 7}, "a rule's when must be .*, not 7"),
            ({"role": "human"}, "a rule's role must be .*user.*, not 'human'"),
            ({"api": "grayswan"}, "a rule's api must be .*gray_swan.*, not 'grayswan'"),
            ({"times": "1"}, "a rule's times must be a whole number, not '1'"),
        ],
    )
    def test_that_make_no_sense_are_refused(self, sandbox: Sandbox, rule: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            sandbox.add_rule(**{"reply": "text", **rule})

    @pytest.mark.parametrize(
        ("reply", "words"),
        [
            ({"text": {"port": "Ostra"}}, "a reply's text must be .*body=.*, not {'port': 'Ostra'}"),
            ({"reasoning": None}, "a reply's reasoning must be .*, not None"),
            ({"tool_calls": ToolCall(None, "fare", "{}")}, "a reply's tool_calls must be a list of ToolCall"),
            ({"tool_calls": [{"name": "fare"}]}, "a reply's tool_calls must be a list of ToolCall"),
            ({"tool_calls": [ToolCall(None, "fare", {"port": "Ostra"})]}, "the arguments of fare must be JSON text"),  # type: ignore[arg-type]
            ({"fault": 429}, r"a reply's fault must be HTTPError\(...\) or .*, not 429"),
            ({"fault": Cut}, "a reply's fault must be .*, not <class"),
            ({"usage": {"prompt_tokens": 1}}, "a reply's usage must be a linkspan.conversation.Usage"),
            ({"delay": "1"}, "a reply's delay must be a number of seconds, not '1'"),
            ({"headers": {"retry-after": 1}}, "a reply's headers must be a dictionary of texts"),
        ],
    )
    def test_with_replies_that_make_no_sense_are_refused(self, reply: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            Reply(**reply)

    @pytest.mark.parametrize(
        ("error", "words"),
        [({"status": "429"}, "status must be a number"), ({"headers": {"retry-after": 1}}, "headers must be a dict")],
    )
    def test_with_errors_that_make_no_sense_are_refused(self, error: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigurationError, match=words):
            HTTPError(**{"status": 429, **error})

    @pytest.mark.parametrize("place", ["reply", "when"])
    def test_whose_function_raises_say_so(
        self, sandbox: Sandbox, client: Client, place: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fails(call: Call) -> str:
            assert call.max_tokens, "no limit"
            return "sound"

        sandbox.add_rule(**{"reply": "text", place: fails})
        message = client.post().json()["error"]["message"]
        assert message.startswith("a rule's function raised AssertionError: no limit")
        assert "no limit" in str(caplog.records[0].exc_info)
        assert client.post(max_tokens=7).status_code == 200

    def test_whose_function_returns_nothing_say_so(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(lambda call: None)  # type: ignore[return-value]  # what is refused
        message = client.post().json()["error"]["message"]
        assert message == "a rule's function must return a text or a Reply, not NoneType"

    def test_reset_forgets_rules_and_requests(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule("ruled")
        client.post()
        sandbox.reset()
        assert (len(sandbox.requests), sandbox.rules) == (0, ())
        assert answer(client.post("echoed")) == "echoed"


class TestEcho:
    def test_gives_the_last_user_text_back(self, client: Client) -> None:
        messages = [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "ok"},
            {"role": "user", "content": [{"type": "text", "text": "second "}, {"type": "text", "text": "part"}]},
        ]
        assert answer(client.post(messages=messages)) == "second part"

    def test_calls_a_forced_tool_with_the_smallest_arguments(self, client: Client) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
        tools = [{"type": "function", "function": {"name": "count", "parameters": schema}}]
        for choice in ("required", {"type": "function", "function": {"name": "count"}}):
            call = client.post(tools=tools, tool_choice=choice).json()["choices"][0]["message"]["tool_calls"][0]
            assert (call["function"]["name"], json.loads(call["function"]["arguments"])) == ("count", {"n": 3})

    def test_satisfies_a_schema(self, client: Client) -> None:
        schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
        wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
        assert json.loads(answer(client.post(response_format=wanted))) == {"city": "text"}
        assert answer(client.post(response_format={"type": "json_object"})) == "{}"


class TestLimits:
    def test_max_tokens_cuts(self, client: Client) -> None:
        choice = client.post("one two three four", max_tokens=2).json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "length")

    def test_reasoning_can_eat_the_whole_answer(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("Yes.", reasoning="a b c d"))
        choice = client.post(max_tokens=3).json()["choices"][0]
        assert (choice["message"]["content"], choice["message"]["reasoning"]) == (None, "a b c")
        assert choice["finish_reason"] == "length"

    @pytest.mark.parametrize("stop", ["ee fo", ["nothing", "ee fo"]])
    def test_stop_text_ends_the_answer_and_is_left_out(self, client: Client, stop: Any) -> None:
        choice = client.post("one two three four", stop=stop).json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("one two thr", "stop")
        assert text_of(client.events("one two three four", stop=stop)) == "one two thr"

    def test_pieces_of_a_list_are_kept(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(["Hel", "lo", " you"]))
        assert [delta["content"] for delta in deltas(client.events())] == ["", "Hel", "lo", " you", ""]


class TestFaults:
    def test_status_has_the_apis_own_body_unless_another_is_given(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(fault=HTTPError(429, headers={"retry-after": "7"})), times=1)
        sandbox.add_rule(Reply(fault=HTTPError(504, "<html>gateway</html>", {"content-type": "text/html"})), times=1)
        first, second = client.post(), client.post(stream=True)
        assert (first.status_code, first.json()["error"], first.headers["retry-after"]) == (
            429,
            "INSUFFICIENT QUOTA",
            "7",
        )
        assert (second.status_code, second.text, second.headers["content-type"]) == (
            504,
            "<html>gateway</html>",
            "text/html",
        )

    def test_error_event_comes_after_the_pieces(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("one two three", fault=ErrorEvent(after=2, message="out of memory")))
        *events, error, marker = client.events()
        assert (text_of(events), marker) == ("one two", "[DONE]")
        assert error == {
            "error": {"message": "out of memory", "type": "InternalServerError", "param": None, "code": 500}
        }
        assert client.post().status_code == 500

    @pytest.mark.parametrize("stream", [False, True])
    def test_connection_is_cut_before_the_status_line(self, sandbox: Sandbox, client: Client, stream: bool) -> None:
        sandbox.add_rule(Reply(fault=Cut(after=None)), times=1)
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            client.post(stream=stream)
        assert client.post(stream=stream).status_code == 200

    def test_connection_is_cut_between_pieces(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("one two three", fault=Cut(after=2)))
        received = b""
        body = {"model": "glm-5.2", "messages": [{"role": "user", "content": "x"}], "stream": True}

        def read() -> None:
            nonlocal received
            with client.http.stream("POST", "/chat/completions", json=body) as response:
                for chunk in response.iter_raw():
                    received += chunk

        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            read()
        assert text_of(parse_events(received.decode())) == "one two"
        assert not sandbox.last_request.client_left

    def test_stream_ends_without_a_word(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("one two three", fault=EndEarly(after=2)))
        events = client.events(stream_options={"include_usage": True})
        assert text_of(events) == "one two"
        assert "[DONE]" not in events
        assert not any(event["choices"][0]["finish_reason"] for event in events)

    def test_stall_lasts_until_the_client_leaves(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply("one two three", fault=Stall(after=1)))
        body = {"model": "glm-5.2", "messages": [{"role": "user", "content": "x"}], "stream": True}
        with client.http.stream("POST", "/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            assert not sandbox.last_request.finished
        assert sandbox.last_request.wait_finished()
        assert sandbox.last_request.client_left

    def test_events_and_bodies_go_out_as_given(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.add_rule(Reply(events=['{"choices":[]}', {"odd": None}, "[DONE]"]), when="stream")
        sandbox.add_rule(Reply(body={"choices": []}, headers={"x-odd": "yes"}))
        assert (
            client.post("stream", stream=True).text == 'data: {"choices":[]}\n\ndata: {"odd": null}\n\ndata: [DONE]\n\n'
        )
        whole = client.post("whole")
        assert (whole.json(), whole.headers["x-odd"]) == ({"choices": []}, "yes")
        assert "of a stream, but the request is not streamed" in client.post("stream").json()["error"]["message"]


def test_requests_are_recorded_without_keys(sandbox: Sandbox, client: Client) -> None:
    client.http.headers["x-api-key"] = "very-secret"
    client.post("Hello", temperature=0.5)
    request = sandbox.last_request
    assert request.wait_finished()
    assert (request.method, request.path, request.status) == ("POST", "/scaleway/v1/chat/completions", 200)
    assert request.json["temperature"] == 0.5
    assert (request.headers["authorization"], request.headers["x-api-key"]) == ("Bearer ***", "***")
    assert "any-key" not in repr(request)
    assert not request.client_left


def test_requests_can_be_waited_for(sandbox: Sandbox, client: Client) -> None:
    sandbox.add_rule(Reply("one two", fault=Stall(after=0)))
    thread = threading.Thread(target=_post_and_give_up, args=(sandbox.scaleway_url,), daemon=True)
    thread.start()
    assert sandbox.requests.wait_for(1)[0].path.endswith("/chat/completions")
    thread.join()
    with pytest.raises(TimeoutError, match="1 of 2"):
        sandbox.requests.wait_for(2, timeout=0.01)


def _post_and_give_up(base_url: str) -> None:
    client = Client(base_url)
    client.http.timeout = httpx.Timeout(60, read=0.2)
    with pytest.raises(httpx.ReadTimeout):
        client.post()


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["a"]}, {"a": "text"}),
        ({"$ref": "#/$defs/x", "$defs": {"x": {"enum": ["first", "second"]}}}, "first"),
        ({"anyOf": [{"type": "null"}, {"type": "string"}]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}, "required": ["a"]}, {"type": "object"}]}, {"a": 1}),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"type": "number", "exclusiveMinimum": 4}, 5),
        ({"type": ["string", "null"], "maxLength": 2}, "te"),
        ({"type": "string", "format": "date"}, "2025-01-01"),
        ({"type": "integer", "default": 9}, 9),
    ],
)
def test_smallest_value_of_a_schema(schema: dict[str, Any], expected: Any) -> None:
    assert example_of(schema) == expected
