"""The DataCrunch dialect as a client sees it: routes, rules, answers, framing, versions, faults."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan_sandbox import (
    Cut,
    DataCrunchOptions,
    EndEarly,
    ErrorEvent,
    HTTPError,
    Reply,
    Sandbox,
    Stall,
    run,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

FULL = {"details": True, "max_new_tokens": 20}


class TGI:
    """A client without any knowledge of the schema."""

    def __init__(self, base_url: str, key: str | None = "any") -> None:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        self.base_url = base_url
        self.http = httpx.Client(headers=headers, timeout=60, trust_env=False, verify=False)

    def post(self, route: str = "/generate", inputs: Any = "Hello big world", /, **parameters: Any) -> httpx.Response:
        return self.send(route, {"inputs": inputs, "parameters": parameters})

    def send(self, route: str, body: Any) -> httpx.Response:
        return self.http.post(self.base_url + route, json=body)

    def events(self, inputs: str = "Hello big world", /, **parameters: Any) -> list[Any]:
        response = self.post("/generate_stream", inputs, **parameters)
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        return parse(response.text)


def parse(text: str, start: str = "data: ") -> list[Any]:
    events = [block for block in text.split("\n\n") if block]
    assert all(block.startswith(start) for block in events)
    return [json.loads(block.removeprefix(start)) for block in events]


@pytest.fixture
def tgi(sandbox: Sandbox) -> Iterator[TGI]:
    client = TGI(sandbox.tgi_url)
    with client.http:
        yield client


# --------------------------------------------------------------------------- answers


def test_a_whole_answer_has_the_documented_fields(tgi: TGI) -> None:
    response = tgi.post(**FULL, decoder_input_details=True, top_n_tokens=1, do_sample=True)
    body = response.json()
    details = body["details"]
    assert body["generated_text"] == "Hello big world"
    assert details["finish_reason"] == "eos_token"
    assert details["generated_tokens"] == 4
    assert details["seed"] > 2**63
    assert [token["logprob"] for token in details["prefill"]] == [None, -0.25, -0.25]
    assert details["tokens"][-1] == {"id": 2, "text": "</s>", "logprob": -0.25, "special": True}
    assert "".join(token["text"] for token in details["tokens"][:-1]) == "Hello big world"
    assert len(details["top_tokens"]) == 4
    assert response.headers["x-prompt-tokens"] == "3"
    assert response.headers["x-generated-tokens"] == "4"
    assert response.headers["x-compute-characters"] == "15"


def test_without_details_there_is_only_the_text(tgi: TGI) -> None:
    assert tgi.post().json() == {"generated_text": "Hello big world"}


def test_the_root_answers_a_list_and_repeats_the_prompt(tgi: TGI) -> None:
    for route in ("", "/"):
        assert tgi.post(route).json() == [{"generated_text": "Hello big world" * 2}]
    assert tgi.post("", return_full_text=False).json() == [{"generated_text": "Hello big world"}]
    streamed = tgi.send("", {"inputs": "Hi", "stream": True})
    assert streamed.headers["content-type"] == "text/event-stream"


def test_events_carry_one_token_each_and_the_last_one_the_whole(tgi: TGI) -> None:
    events = tgi.events(**FULL)
    assert [event["token"]["text"] for event in events] == ["Hello", " big", " world", "</s>"]
    assert [event["index"] for event in events] == [1, 2, 3, 4]
    assert [event["generated_text"] for event in events] == [None, None, None, "Hello big world"]
    assert events[-1]["details"] == {
        "finish_reason": "eos_token",
        "generated_tokens": 4,
        "seed": None,
        "input_length": 3,
    }
    assert tgi.events()[-1]["details"] is None


@pytest.mark.parametrize(
    ("parameters", "text", "finish"),
    [
        ({"max_new_tokens": 2}, "Hello big", "length"),
        ({"stop": ["big"]}, "Hello big", "stop_sequence"),
        ({"stop": ["big"], "max_new_tokens": 2}, "Hello big", "length"),
        ({"stop": ["bi"]}, "Hello big world", "eos_token"),
        ({"stop": ["lo b", "rld"]}, "Hello big world", "stop_sequence"),
    ],
)
def test_stop_texts_stay_in_and_only_those_at_the_end_of_a_token_are_noticed(
    tgi: TGI, parameters: dict[str, Any], text: str, finish: str
) -> None:
    body = tgi.post(details=True, **parameters).json()
    assert (body["generated_text"], body["details"]["finish_reason"]) == (text, finish)
    last = tgi.events(details=True, **parameters)[-1]
    assert (last["generated_text"], last["details"]["finish_reason"]) == (text, finish)


def test_the_best_of_several_wins_and_the_others_are_told(sandbox: Sandbox, tgi: TGI) -> None:
    sandbox.add_rule("first", times=1)
    sandbox.add_rule("second one", times=1)
    body = tgi.post(best_of=2, do_sample=True, **FULL).json()
    assert body["generated_text"] == "first"
    (other,) = body["details"]["best_of_sequences"]
    assert other["generated_text"] == "second one"
    assert other["generated_tokens"] == 3


@pytest.mark.parametrize(
    ("parameters", "seeded"),
    [
        ({}, False),
        ({"temperature": 1.0}, False),
        ({"temperature": 0.5}, True),
        ({"top_k": 3}, True),
        ({"do_sample": True}, True),
    ],
)
def test_there_is_a_seed_where_tokens_are_drawn(tgi: TGI, parameters: dict[str, Any], seeded: bool) -> None:
    details = tgi.post(**FULL, **parameters).json()["details"]
    assert (details["seed"] is not None) == seeded
    assert tgi.post(**FULL, seed=7, **parameters).json()["details"]["seed"] == (7 if seeded else None)


def test_a_grammar_shapes_the_answer(tgi: TGI) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    for grammar in (
        {"type": "json", "value": schema},
        {"type": "json_object", "value": json.dumps(schema)},
        {"type": "json_schema", "value": {"name": "N", "schema": schema}},
    ):
        assert set(json.loads(tgi.post(grammar=grammar).json()["generated_text"])) == {"n"}


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"temperature": 0}, "`temperature` must be strictly positive"),
        ({"repetition_penalty": 0}, "`repetition_penalty` must be strictly positive"),
        ({"frequency_penalty": 3}, "`frequency_penalty` must be >= -2.0 and <= 2.0"),
        ({"top_p": 1}, "`top_p` must be > 0.0 and < 1.0"),
        ({"top_p": 0.99999999}, "`top_p` must be > 0.0 and < 1.0"),
        ({"typical_p": 1.0}, "`typical_p` must be > 0.0 and < 1.0"),
        ({"top_k": 0}, "`top_k` must be strictly positive"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be strictly positive"),
        ({"stop": list("abcde")}, "`stop` supports up to 4 stop sequences. Given: 5"),
        ({"best_of": 3, "do_sample": True}, "`best_of` must be > 0 and <= 2. Given: 3"),
        ({"best_of": 2}, "you must use sampling when `best_of` is > 1"),
        ({"best_of": 2, "do_sample": True, "seed": 1}, "`seed` must not be set when `best_of` > 1"),
        ({"top_n_tokens": 6}, "`top_n_tokens` must be >= 0 and <= 5. Given: 6"),
        (
            {"grammar": {"type": "json", "value": {"type": "string"}}},
            "grammar is not valid: Grammar must have a 'properties' field",
        ),
    ],
)
def test_a_broken_rule_is_422_or_an_event_under_200(tgi: TGI, parameters: dict[str, Any], message: str) -> None:
    expected = {"error": f"Input validation error: {message}", "error_type": "validation"}
    whole = tgi.post(**parameters)
    assert (whole.status_code, whole.json()) == (422, expected)
    if "best_of" not in parameters:
        assert tgi.events(**parameters) == [expected]


def test_what_streams_cannot_do(tgi: TGI) -> None:
    (event,) = tgi.events(best_of=2, do_sample=True)
    assert event["error"].endswith("`best_of` != 1 is not supported when streaming tokens")
    (event,) = tgi.events(decoder_input_details=True)
    assert event["error"].endswith("`decoder_input_details` == true is not supported when streaming tokens")


def test_what_does_not_fit_is_refused_with_the_numbers(tgi: TGI) -> None:
    long = "word " * 3500
    message = "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: "
    error = tgi.post("/generate", long, max_new_tokens=1000).json()
    assert error["error_type"] == "validation"
    assert error["error"].startswith(message)
    assert error["error"].endswith("`inputs` tokens and 1000 `max_new_tokens`")
    assert tgi.post("/generate", "Hi", max_new_tokens=100_000).status_code == 200
    assert tgi.post("/generate", "").json()["error"] == "Input validation error: `inputs` cannot be empty"


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"top_k": "x"}, 'parameters.top_k: invalid type: string "x", expected i32 at line 1 column 60'),
        ({"top_k": 1.5}, "parameters.top_k: invalid type: floating point `1.5`, expected i32"),
        ({"seed": -1}, "parameters.seed: invalid value: integer `-1`, expected u64"),
        ({"do_sample": None}, "parameters.do_sample: invalid type: null, expected a boolean"),
        ({"stop": None}, "parameters.stop: invalid type: null, expected a sequence"),
        ({"temperature": "hot"}, "expected f32"),
    ],
)
def test_a_wrong_type_is_refused_in_plain_text_also_for_a_stream(
    tgi: TGI, parameters: dict[str, Any], words: str
) -> None:
    for route in ("/generate", "/generate_stream"):
        response = tgi.post(route, "Hello big world", **parameters)
        assert response.status_code == 422
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text.startswith("Failed to deserialize the JSON body into the target type: ")
        assert words.partition(" at line")[0] in response.text


def test_nulls_are_taken_where_tgi_takes_them(tgi: TGI) -> None:
    nulls = dict.fromkeys(
        ["best_of", "temperature", "top_k", "top_p", "seed", "truncate", "return_full_text", "grammar"]
    )
    assert tgi.post(**nulls).status_code == 200
    assert tgi.post(no_such_parameter=3).status_code == 200


def test_bodies_that_are_no_json(tgi: TGI) -> None:
    url = f"{tgi.base_url}/generate"
    assert tgi.http.post(url, content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert tgi.http.post(url, content=b"{}", headers={"content-type": "text/plain"}).status_code == 415
    large = b'{"inputs":"' + b"x" * (2 * 1024 * 1024) + b'"}'
    assert tgi.http.post(url, content=large, headers={"content-type": "application/json"}).status_code == 413
    assert "missing field `inputs`" in tgi.send("/generate", {}).text


def test_a_wrong_key_is_401_without_a_body() -> None:
    with run(api_key="right") as sandbox:
        for key in (None, "wrong"):
            with (client := TGI(sandbox.tgi_url, key)).http:
                for response in (client.post(), client.http.get(f"{sandbox.tgi_url}/info")):
                    assert (response.status_code, response.content) == (401, b"")
        with (client := TGI(sandbox.tgi_url, "right")).http:
            assert client.post().status_code == 200


def test_the_legacy_route_needs_a_model(sandbox: Sandbox) -> None:
    with (client := TGI(sandbox.datacrunch_url)).http:
        response = client.send("/generate", {"inputs": "Hi"})
        assert response.status_code == 422
        assert "missing field `model`" in response.text
        assert client.send("/generate", {"inputs": "Hi", "model": "mixtral"}).json() == {"generated_text": "Hi"}
        assert parse(client.send("/generate_stream", {"inputs": "Hi", "model": "mixtral"}).text)[-1]["generated_text"]


# --------------------------------------------------------------------------- versions, comments, limits


def test_an_old_server_frames_and_fills_its_events_otherwise() -> None:
    with run(datacrunch_options=DataCrunchOptions(version="1.1.0")) as sandbox, (tgi := TGI(sandbox.tgi_url)).http:
        response = tgi.post("/generate_stream", " ".join("x" * 50), details=True)
        events = parse(response.text, "data:")
        assert response.text.startswith('data:{"token":')
        assert len(events) == 20
        assert events[-1]["details"] == {"finish_reason": "length", "generated_tokens": 20, "seed": None}
        assert "x-prompt-tokens" not in tgi.post().headers
        assert tgi.http.get(f"{sandbox.tgi_url}/v1/models").status_code == 404
        assert "max_input_length" in tgi.http.get(f"{sandbox.tgi_url}/info").json()


def test_silence_is_filled_with_comments() -> None:
    with run(datacrunch_options=DataCrunchOptions(keep_alive=0.02)) as sandbox, (tgi := TGI(sandbox.tgi_url)).http:
        sandbox.add_rule(Reply("one two", fault=Stall(after=1)))
        body = {"inputs": "Hi"}
        with tgi.http.stream("POST", f"{sandbox.tgi_url}/generate_stream", json=body) as response:
            lines = response.iter_lines()
            # A busy machine sends comments before the first event too.
            assert next(line for line in lines if line not in {"", ":"}).startswith("data: ")
            assert [next(lines) for _ in range(5)] == ["", ":", "", ":", ""]
        assert sandbox.last_request.wait_finished()
        assert sandbox.last_request.client_left


def test_too_many_at_once_are_told_so() -> None:
    with run(datacrunch_options=DataCrunchOptions(max_concurrent_requests=1)) as sandbox:
        sandbox.add_rule(Reply("one two", fault=Stall(after=1)), when="stall")
        overloaded = {"error": "Model is overloaded", "error_type": "overloaded"}
        with (tgi := TGI(sandbox.tgi_url)).http:
            with tgi.http.stream("POST", f"{sandbox.tgi_url}/generate_stream", json={"inputs": "stall"}) as response:
                lines = response.iter_lines()
                assert next(lines).startswith("data: ")
                refused = tgi.post()
                assert (refused.status_code, refused.json()) == (429, overloaded)
                assert tgi.events() == [overloaded]
            assert sandbox.requests[0].wait_finished()
            assert tgi.post().status_code == 200


def test_calls_count_from_the_start_on_every_route() -> None:
    with run(datacrunch_options=DataCrunchOptions(max_concurrent_requests=1)) as sandbox:
        sandbox.add_rule(Reply(fault=Stall(after=0)))
        chat = {"messages": [{"role": "user", "content": "x"}]}
        waiting = threading.Thread(
            target=ask_in_vain, args=(f"{sandbox.tgi_url}/v1/chat/completions", chat), daemon=True
        )
        waiting.start()
        # The server begins to answer a request before it reads the next one.
        sandbox.requests.wait_for(1)
        with (tgi := TGI(sandbox.tgi_url)).http:
            assert tgi.post().status_code == 429
            assert tgi.send("/v1/chat/completions", chat).status_code == 429
            assert tgi.send("", {"inputs": "x"}).status_code == 429
    waiting.join(10)
    assert not waiting.is_alive()


def ask_in_vain(url: str, body: Any) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(url, json=body, headers={"authorization": "Bearer any"}, timeout=60, trust_env=False, verify=False)


# --------------------------------------------------------------------------- faults


def test_faults_speak_tgis_words(sandbox: Sandbox, tgi: TGI) -> None:
    failed = {"error": "Request failed during generation: no memory", "error_type": "generation"}
    sandbox.add_rule(Reply("one two three", fault=ErrorEvent(after=2, message="no memory")))
    response = tgi.post()
    assert (response.status_code, response.json()) == (424, failed)
    events = tgi.events()
    assert [event["token"]["text"] for event in events[:-1]] == ["one", " two"]
    assert events[-1] == failed


def test_a_rule_can_answer_any_status(sandbox: Sandbox, tgi: TGI) -> None:
    sandbox.add_rule(Reply(fault=HTTPError(429)), times=1)
    assert tgi.post().json() == {"error": "Model is overloaded", "error_type": "overloaded"}
    sandbox.add_rule(Reply(fault=HTTPError(503, body="no replica")), times=1)
    response = tgi.post("/generate_stream")
    assert (response.status_code, response.text) == (503, "no replica")


def test_streams_end_early_or_break(sandbox: Sandbox, tgi: TGI) -> None:
    sandbox.add_rule(Reply("one two", fault=EndEarly(after=1)), times=2)
    assert [event["generated_text"] for event in tgi.events()] == [None]
    response = tgi.post()
    assert (response.status_code, response.json()["error_type"]) == (500, "incomplete_generation")
    sandbox.add_rule(Reply("one two", fault=Cut(after=1)), times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        tgi.post("/generate_stream")
    sandbox.add_rule(Reply("one two", fault=Cut(after=None)), times=1)
    with pytest.raises(httpx.RemoteProtocolError):
        tgi.post("/generate_stream")


def test_events_can_be_scripted(sandbox: Sandbox, tgi: TGI) -> None:
    sandbox.add_rule(Reply(events=[{"token": {"id": 1}}, "[DONE]"]))
    assert tgi.post("/generate_stream").text == 'data: {"token": {"id": 1}}\n\ndata: [DONE]\n\n'


# --------------------------------------------------------------------------- what a container has besides


def test_health_info_and_models(sandbox: Sandbox, tgi: TGI) -> None:
    assert tgi.http.get(f"{sandbox.tgi_url}/health").status_code == 200
    told = tgi.http.get(f"{sandbox.tgi_url}/info").json()
    assert (told["version"], told["max_total_tokens"], told["max_stop_sequences"]) == ("3.3.7", 4096, 4)
    assert tgi.http.get(f"{sandbox.tgi_url}/v1/models").json()["data"][0]["id"] == told["model_id"]


def chat(tgi: TGI, **fields: Any) -> httpx.Response:
    return tgi.send("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi you"}], **fields})


def test_chat_as_new_servers_answer_it(tgi: TGI) -> None:
    body = chat(tgi).json()
    assert body["object"] == "chat.completion"
    assert body["id"] == ""
    assert body["choices"][0]["message"] == {"role": "assistant", "content": "Hi you"}
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    text = chat(tgi, stream=True, stream_options={"include_usage": True}).text
    assert text.endswith("data: [DONE]\n\n")
    chunks = parse(text.removesuffix("data: [DONE]\n\n"))
    assert [chunk["choices"][0]["delta"]["content"] for chunk in chunks[:-1]] == ["Hi", " you", ""]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 4


def test_chat_as_an_old_server_answers_it() -> None:
    with run(datacrunch_options=DataCrunchOptions(version="1.4.5")) as sandbox, (tgi := TGI(sandbox.tgi_url)).http:
        tool = {"type": "function", "function": {"name": "get", "parameters": {"type": "object", "properties": {}}}}
        body = chat(tgi, tools=[tool], tool_choice="required").json()
        (call,) = body["choices"][0]["message"]["tool_calls"]
        assert (body["object"], call["id"], call["function"]["arguments"]) == ("text_completion", 0, {})
        assert body["choices"][0]["finish_reason"] == "eos_token"
        assert "[DONE]" not in chat(tgi, stream=True).text


def test_chat_takes_a_grammar_but_not_with_tools(tgi: TGI) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    grammar = {"type": "json", "value": schema}
    content = chat(tgi, response_format=grammar).json()["choices"][0]["message"]["content"]
    assert set(json.loads(content)) == {"n"}
    tool = {"type": "function", "function": {"name": "get", "parameters": schema}}
    refused = chat(tgi, response_format=grammar, tools=[tool])
    assert (refused.status_code, refused.json()["error_type"]) == (422, "tool_error")
    openai = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert chat(tgi, response_format=openai).status_code == 422
