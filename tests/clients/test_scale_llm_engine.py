"""LLM Engine's prompt route, v1, as its own client, ``scale-llm-engine``, sees it.

Its answers are pydantic models (of version 1), checked by the client as they come.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from llmengine import Completion, CompletionStreamResponse, CompletionSyncResponse, Model, api_engine
from llmengine.errors import BadRequestError, NotFoundError, RateLimitExceededError, UnauthorizedError, UnknownError

from linkspan_sandbox import ErrorEvent, HTTPError, Reply
from tests.clients.conftest import KEY, SCHEMA, WRONG_KEY, Served

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox

MODEL = "llama-2-7b"
PROMPT = "Count from one to five."
PIECES = ["Count", " from", " one", " to", " five."]
SHORT: dict[str, Any] = {"model": MODEL, "prompt": PROMPT, "max_new_tokens": 7, "temperature": 0, "timeout": 60}


@pytest.fixture(autouse=True)
def _settings(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """This client has its address and key in the module; without the final slash it would lose the path."""
    name = next((name for name in ("served", "by_rules") if name in request.fixturenames), "scripted")
    given = request.getfixturevalue(name)
    sandbox: Sandbox = given.sandbox if isinstance(given, Served) else given
    monkeypatch.setattr(api_engine, "base_path", f"{sandbox.llm_engine_url}/")
    monkeypatch.setattr(api_engine, "api_key", KEY)


def ask(options: dict[str, Any]) -> None:
    answer = Completion.create(**options)
    if options.get("stream"):
        next(iter(answer))  # nothing is sent before


async def ask_async(options: dict[str, Any]) -> None:
    answer = await Completion.acreate(**options)
    if options.get("stream"):
        async for _ in answer:
            return


def check_answer(served: Served, answer: CompletionSyncResponse) -> None:
    assert type(answer) is CompletionSyncResponse
    assert answer.request_id
    served.expect(answer.output.text, PROMPT)
    assert answer.output.num_completion_tokens == 5 if served.exact else 0 < answer.output.num_completion_tokens <= 7
    assert answer.output.num_prompt_tokens
    assert answer.output.tokens is None


def check_events(served: Served, events: list[CompletionStreamResponse]) -> None:
    assert len({event.request_id for event in events}) == 1
    outputs = [event.output for event in events if event.output is not None]
    assert len(outputs) == len(events)
    served.expect_pieces([output.text for output in outputs], PIECES)
    assert [output.finished for output in outputs] == [False] * (len(outputs) - 1) + [True]
    # With current vLLM the gateway knows no counts in a stream.
    assert {output.num_completion_tokens for output in outputs} == {0}


def test_create(served: Served) -> None:
    check_answer(served, Completion.create(**SHORT))


async def test_acreate(by_rules: Served) -> None:
    check_answer(by_rules, await Completion.acreate(**SHORT))


def test_create_streamed(served: Served) -> None:
    check_events(served, list(Completion.create(**SHORT, stream=True)))


async def test_acreate_streamed(by_rules: Served) -> None:
    stream = await Completion.acreate(**SHORT, stream=True)
    check_events(by_rules, [event async for event in stream])


def test_log_probabilities(served: Served) -> None:
    answer = Completion.create(**SHORT, return_token_log_probs=True)
    tokens = answer.output.tokens
    assert tokens
    assert len(tokens) == answer.output.num_completion_tokens
    assert all(token.log_prob <= 0 for token in tokens)
    streamed = [event.output for event in Completion.create(**SHORT, return_token_log_probs=True, stream=True)]
    spoken = [output.token.token for output in streamed if output is not None and output.token is not None]
    assert spoken[: len(tokens)] == [token.token for token in tokens]


def test_guides_are_obeyed(served: Served) -> None:
    answer = Completion.create(**{**SHORT, "max_new_tokens": 60}, guided_json=SCHEMA)
    assert list(json.loads(answer.output.text)) == ["city"]
    choices = ["yes", "no"]
    assert Completion.create(**SHORT, guided_choice=choices).output.text in choices


def test_stop_texts(scripted: Sandbox) -> None:
    assert Completion.create(**SHORT, stop_sequences=[" to"]).output.text == "Count from one"
    kept = Completion.create(**SHORT, stop_sequences=[" to"], include_stop_str_in_output=True)
    assert kept.output.text == "Count from one to"


async def test_separators_of_lines_inside_a_token(scripted: Sandbox) -> None:
    pieces = ["one\u2028", "two\u2029", "three\u0085", "four"]
    scripted.add_rule(Reply(text=pieces))
    plain = [event.output.text for event in Completion.create(**SHORT, stream=True)]
    stream = await Completion.acreate(**SHORT, stream=True)
    awaited = [event.output.text async for event in stream]
    assert [text for text in plain if text] == [text for text in awaited if text] == pieces


def test_one_endpoint(served: Served) -> None:
    found = Model.get(MODEL)
    assert found.name == MODEL
    assert (found.status.value, found.inference_framework.value) == ("READY", "vllm")
    assert found.spec is not None
    assert found.spec.endpoint_type is not None
    assert found.spec.endpoint_type.value == "streaming"


def test_the_list_needs_streaming_endpoints_alone(served: Served) -> None:
    # Its classes know no other kind, and a deployment as the sandbox's has others.
    with pytest.raises(ValueError, match="endpoint_type"):
        Model.list()


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({"model": "no-such-endpoint"}, NotFoundError, "Model endpoint no-such-endpoint not found."),
        ({"model": "llama-2-13b", "stream": True}, BadRequestError, "is not a streaming endpoint"),
        ({"top_k": 5}, BadRequestError, "top_k and top_p can't be enabled when temperature is 0"),
        ({"guided_regex": "a", "guided_choice": ["a"]}, BadRequestError, "Only one of"),
        ({"model": "mistral-7b", "guided_regex": "a"}, BadRequestError, "only supported in vllm"),
    ],
)
async def test_what_is_refused(served: Served, fields: dict[str, Any], kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        ask({**SHORT, **fields})
    with pytest.raises(kind, match=words):
        await ask_async({**SHORT, **fields})


def test_a_wrong_key(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_engine, "api_key", WRONG_KEY)
    with pytest.raises(UnauthorizedError, match="Could not authenticate user"):
        Completion.create(**SHORT)


def test_a_rate_limit(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(fault=HTTPError(429)))
    with pytest.raises(RateLimitExceededError, match="Too many requests"):
        Completion.create(**SHORT)


def test_a_body_of_the_wrong_shape_is_unknown_to_the_client(served: Served) -> None:
    # Its own classes let nothing of the kind through; the route below them does.
    with pytest.raises(UnknownError, match="max_new_tokens"):
        Completion.post_sync(
            resource_name=f"v1/llm/completions-sync?model_endpoint_name={MODEL}", data={"prompt": "x"}, timeout=60
        )


async def test_a_stream_that_fails_in_the_middle(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text="one two three", fault=ErrorEvent(after=2)))
    plain = list(Completion.create(**SHORT, stream=True))
    stream = await Completion.acreate(**SHORT, stream=True)
    for events in (plain, [event async for event in stream]):
        *spoken, last = events
        assert [event.output.text for event in spoken] == ["one", " two"]
        # This client hands the failure out instead of raising it.
        assert last.output is None
        assert last.error.status_code == 500
        assert last.error.content.error == "Internal error occurred. Our team has been notified."
