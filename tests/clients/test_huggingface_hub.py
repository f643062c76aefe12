"""TGI's dialect, in its container, as ``huggingface_hub`` sees it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import (
    GenerationError,
    HfHubHTTPError,
    OverloadedError,
    TextGenerationError,
    ValidationError,
)

from linkspan.conversation import ToolCall
from linkspan_sandbox import DataCrunchOptions, ErrorEvent, HTTPError, Reply, run
from tests.clients.conftest import KEY, SCHEMA, WRONG_KEY, Served, read_until
from tests.clients.typed import assert_typed

if TYPE_CHECKING:
    from huggingface_hub import (
        ChatCompletionOutput,
        ChatCompletionStreamOutput,
        TextGenerationOutput,
        TextGenerationStreamOutput,
    )

    from linkspan_sandbox import Sandbox

PROMPT = "Count from one to five."
PIECES = ["Count", " from", " one", " to", " five."]
QUESTION: list[Any] = [{"role": "user", "content": PROMPT}]
#: Separators of lines that are not ends of lines: in JSON they may stand as they are.
SEPARATED = ["one\u2028", "two\u2029", "three\u0085", "four"]


def client(sandbox: Sandbox, route: str = "", key: str = KEY) -> InferenceClient:
    return InferenceClient(model=sandbox.tgi_url + route, token=key, timeout=60)


def async_client(sandbox: Sandbox, route: str = "") -> AsyncInferenceClient:
    return AsyncInferenceClient(model=sandbox.tgi_url + route, token=KEY, timeout=60)


def check_details(served: Served, answer: TextGenerationOutput) -> None:
    assert_typed(answer)
    served.expect(answer.generated_text, PROMPT)
    details = answer.details
    assert details is not None
    spoken = [token.text for token in details.tokens if not token.special]
    served.expect_pieces(spoken, PIECES)
    assert "".join(spoken) == answer.generated_text
    assert details.generated_tokens == len(details.tokens)
    assert details.finish_reason in (["eos_token"] if served.exact else ["eos_token", "length"])
    assert details.prefill == []


def check_events(served: Served, events: list[TextGenerationStreamOutput]) -> None:
    for event in events:
        assert_typed(event)
    *earlier, last = events
    assert [event.index for event in events] == list(range(1, len(events) + 1))
    assert all(event.generated_text is None and event.details is None for event in earlier)
    spoken = [event.token.text for event in events if not event.token.special]
    served.expect_pieces(spoken, PIECES)
    assert last.generated_text == "".join(spoken)
    assert last.details is not None
    assert last.details.generated_tokens == len(events)


@pytest.mark.parametrize("route", ["/", "/generate"])
def test_text(served: Served, route: str) -> None:
    made = client(served.sandbox, route)
    # Said here because TGI sends the prompt along on "/" otherwise, and this client does not refuse it by itself.
    answer = made.text_generation(PROMPT, max_new_tokens=7, return_full_text=False)
    served.expect(answer, PROMPT)


async def test_text_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox, "/generate") as made:
        by_rules.expect(await made.text_generation(PROMPT, max_new_tokens=7), PROMPT)


def test_the_compatible_route_sends_the_prompt_along(served: Served) -> None:
    assert client(served.sandbox).text_generation(PROMPT, max_new_tokens=3).startswith(PROMPT)


@pytest.mark.parametrize("route", ["/", "/generate"])
def test_details(served: Served, route: str) -> None:
    made = client(served.sandbox, route)
    check_details(served, made.text_generation(PROMPT, max_new_tokens=7, details=True, return_full_text=False))


async def test_details_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox, "/generate") as made:
        check_details(by_rules, await made.text_generation(PROMPT, max_new_tokens=7, details=True))


def test_the_prompts_tokens_and_alternatives(served: Served) -> None:
    made = client(served.sandbox, "/generate")
    answer = made.text_generation(PROMPT, max_new_tokens=4, details=True, decoder_input_details=True, top_n_tokens=1)
    details = answer.details
    assert details is not None
    first, *others = details.prefill
    # The class says a number, TGI says null: nothing comes before the first token.
    assert first.logprob is None
    assert "".join(token.text for token in details.prefill).endswith(PROMPT)
    if served.exact:
        assert all(token.logprob is not None and token.logprob < 0 for token in others)
    assert [len(row) for row in details.top_tokens or ()] == [1] * details.generated_tokens


@pytest.mark.parametrize("route", ["/", "/generate_stream"])
def test_text_streamed(served: Served, route: str) -> None:
    made = client(served.sandbox, route)
    pieces = list(made.text_generation(PROMPT, max_new_tokens=7, stream=True, return_full_text=False))
    # Without details this client hands out special tokens as text.
    served.expect_pieces([piece for piece in pieces if piece != "</s>"], PIECES)


@pytest.mark.parametrize("route", ["/", "/generate_stream"])
def test_details_streamed(served: Served, route: str) -> None:
    made = client(served.sandbox, route)
    events = made.text_generation(PROMPT, max_new_tokens=7, stream=True, details=True, return_full_text=False)
    check_events(served, list(events))


async def test_details_streamed_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox, "/generate_stream") as made:
        stream = await made.text_generation(PROMPT, max_new_tokens=7, stream=True, details=True)
        check_events(by_rules, [event async for event in stream])


@pytest.mark.parametrize("version", ["1.1.0", "2.0.4", "2.4.0"])
async def test_details_streamed_of_older_servers(version: str) -> None:
    with run(api_key=KEY, datacrunch_options=DataCrunchOptions(version=version)) as sandbox:
        options: Any = {"max_new_tokens": 7, "stream": True, "details": True, "return_full_text": False}
        plain = list(client(sandbox).text_generation(PROMPT, **options))
        async with async_client(sandbox) as made:
            stream = await made.text_generation(PROMPT, **options)
            awaited = [event async for event in stream]
    for events in (plain, awaited):
        assert [event.token.text for event in events] == [*PIECES, "</s>"]
        assert events[-1].generated_text == PROMPT
        assert events[-1].details is not None
        assert events[-1].details.finish_reason == "eos_token"


async def test_separators_of_lines_inside_a_token(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text=SEPARATED))
    made = client(scripted)
    events = made.text_generation(PROMPT, stream=True, details=True, return_full_text=False)
    assert [event.token.text for event in events if not event.token.special] == SEPARATED
    async with async_client(scripted) as awaited:
        stream = await awaited.text_generation(PROMPT, stream=True, details=True, return_full_text=False)
        assert [event.token.text async for event in stream if not event.token.special] == SEPARATED


def test_a_stop_text_stays(scripted: Sandbox) -> None:
    answer = client(scripted, "/generate").text_generation(PROMPT, stop=[" to"], details=True)
    assert_typed(answer)
    assert answer.generated_text == "Count from one to"
    assert answer.details is not None
    assert answer.details.finish_reason == "stop_sequence"


def test_a_grammar_is_obeyed(served: Served) -> None:
    made = client(served.sandbox, "/generate")
    answer = made.text_generation(PROMPT, max_new_tokens=60, grammar={"type": "json", "value": SCHEMA})
    assert list(json.loads(answer)) == ["city"]


# ---------------------------------------------------------------------- chat


def check_chat(served: Served, answer: ChatCompletionOutput) -> None:
    assert_typed(answer)
    served.expect(answer.choices[0].message.content, PROMPT)
    assert answer.choices[0].finish_reason in (["stop"] if served.exact else ["stop", "length"])
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def check_chat_chunks(served: Served, chunks: list[ChatCompletionStreamOutput]) -> None:
    for chunk in chunks:
        assert_typed(chunk)
    contents = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    served.expect_pieces([content for content in contents if content != "</s>"], PIECES)
    finishes = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert finishes in ([["stop"]] if served.exact else [["stop"], ["length"]])


def test_chat(served: Served) -> None:
    check_chat(served, client(served.sandbox).chat_completion(QUESTION, max_tokens=7, temperature=0))


async def test_chat_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox) as made:
        check_chat(by_rules, await made.chat_completion(QUESTION, max_tokens=7, temperature=0))


def test_chat_streamed(served: Served) -> None:
    chunks = client(served.sandbox).chat_completion(QUESTION, max_tokens=7, temperature=0, stream=True)
    check_chat_chunks(served, list(chunks))


async def test_chat_streamed_async(by_rules: Served) -> None:
    async with async_client(by_rules.sandbox) as made:
        stream = await made.chat_completion(QUESTION, max_tokens=7, temperature=0, stream=True)
        check_chat_chunks(by_rules, [chunk async for chunk in stream])


def test_chat_streamed_with_counts(served: Served) -> None:
    options: Any = {"include_usage": True}
    made = client(served.sandbox)
    *_, last = made.chat_completion(QUESTION, max_tokens=7, temperature=0, stream=True, stream_options=options)
    assert_typed(last)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens


def test_a_tool_call(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(tool_calls=[ToolCall(None, "weather", '{"city": "Lille"}')]))
    parameters: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool: Any = {"type": "function", "function": {"name": "weather", "description": "w", "parameters": parameters}}
    answer = client(scripted).chat_completion(QUESTION, tools=[tool], max_tokens=30)
    assert_typed(answer)
    (call,) = answer.choices[0].message.tool_calls or []
    assert (call.function.name, json.loads(call.function.arguments)) == ("weather", {"city": "Lille"})


# ---------------------------------------------------------------------- errors


def test_a_value_out_of_range(served: Served) -> None:
    with pytest.raises(ValidationError, match="`temperature` must be strictly positive"):
        client(served.sandbox, "/generate").text_generation(PROMPT, temperature=0)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (HTTPError(429), OverloadedError),
        (ErrorEvent(after=0, status=424), GenerationError),
        (ErrorEvent(after=1, status=500), GenerationError),
    ],
    ids=["overloaded", "generation", "generation, by any status"],
)
def test_failures_are_those_the_client_knows(
    scripted: Sandbox, fault: HTTPError | ErrorEvent, kind: type[TextGenerationError]
) -> None:
    scripted.add_rule(Reply(text="one two", fault=fault))
    with pytest.raises(kind):
        client(scripted, "/generate").text_generation(PROMPT)


async def test_a_refusal_in_a_stream_is_an_event(served: Served) -> None:
    with pytest.raises(ValidationError, match="`top_p`"):
        list(client(served.sandbox).text_generation(PROMPT, stream=True, top_p=1.0))
    async with async_client(served.sandbox) as made:
        stream = await made.text_generation(PROMPT, stream=True, top_p=1.0)
        with pytest.raises(ValidationError, match="`top_p`"):
            [piece async for piece in stream]


def test_a_stream_that_fails_in_the_middle(scripted: Sandbox) -> None:
    scripted.add_rule(Reply(text="one two three", fault=ErrorEvent(after=2)))
    stream = client(scripted).text_generation(PROMPT, stream=True, return_full_text=False)
    texts, _ = read_until(GenerationError, iter(stream))
    assert texts == ["one", " two"]


def test_a_wrong_key(served: Served) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        client(served.sandbox, "/generate", WRONG_KEY).text_generation(PROMPT)
    assert caught.value.response is not None
    assert (caught.value.response.status_code, caught.value.response.content) == (401, b"")
