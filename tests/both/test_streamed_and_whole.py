"""A streamed answer is the whole one, or an error: nothing of it is lost, doubled or put in another order."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from linkspan.errors import InvalidResponseError
from tests.both.subjects import SUBJECTS, Subject
from tests.support.responses import ended, event, message, response, said

if TYPE_CHECKING:
    from collections.abc import Sequence

RESPONSES = [subject for subject in SUBJECTS if subject.settings.get("api") == "responses"]
PROMPTS_TGI = [s for s in SUBJECTS if s.name == "DataCrunch" and "api" not in s.settings]
PROMPTS_OPENAI = [s for s in SUBJECTS if s.name == "DataCrunch" and s.settings.get("api") == "openai"]
CHAT_COMPLETIONS = [s for s in SUBJECTS if s.kind == "chat" and s.settings.get("api") != "responses"]


def _model(subject: Subject, events: Sequence[dict[str, Any]], whole: dict[str, Any] | None = None) -> Any:
    stream = b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events)

    def answer(request: httpx.Request) -> httpx.Response:
        if whole is not None and not json.loads(request.content).get("stream"):
            return httpx.Response(200, json=whole)
        return httpx.Response(200, content=stream, headers={"content-type": "text/event-stream"})

    return subject.make(http_client=httpx.Client(transport=httpx.MockTransport(answer)))


def _streamed(subject: Subject, model: Any) -> tuple[str, list[str]]:
    """Return the text of a streamed answer, and the tokens of its log probabilities."""
    if subject.framework == "llama_index":
        chunks = list(model.stream_complete("hi"))
        assert "".join(chunk.delta for chunk in chunks) == chunks[-1].text
        return chunks[-1].text, [position[0].token for chunk in chunks for position in chunk.logprobs or ()]
    pieces = list(model.stream("hi"))
    if isinstance(pieces[0], str):
        return "".join(pieces), []
    answer = sum(pieces[1:], pieces[0])
    scores = answer.response_metadata.get("logprobs", {"content": []})["content"]
    return answer.content, [score["token"] for score in scores]


def _whole(subject: Subject, model: Any) -> tuple[str, list[str]]:
    if subject.framework == "llama_index":
        found = model.complete("hi")
        return found.text, [position[0].token for position in found.logprobs or ()]
    found = model.invoke("hi")
    scores = found.response_metadata.get("logprobs", {"content": []})["content"]
    return found.content, [score["token"] for score in scores]


def _scores(*tokens: str) -> list[dict[str, Any]]:
    return [{"token": token, "logprob": -1.0, "top_logprobs": []} for token in tokens]


FIRST = message("Good day", logprobs=_scores("Good", " day"))
SECOND = message("Bye", "msg_2", logprobs=_scores("Bye"))
BLANK = message("\n ", "msg_0", logprobs=_scores("\n", " "))


def _text_event(kind: str, item_id: str, place: int, **fields: Any) -> dict[str, Any]:
    return event(f"output_text.{kind}", item_id=item_id, output_index=place, content_index=0, **fields)


STREAMS = {
    "scores in pieces": [
        _text_event("delta", "msg_1", 0, delta="Good", logprobs=_scores("Good")),
        _text_event("delta", "msg_1", 0, delta=" day", logprobs=_scores(" day")),
        _text_event("done", "msg_1", 0, text="Good day", logprobs=_scores("Good", " day")),
        ended(FIRST),
    ],
    "scores with the whole text": [
        _text_event("delta", "msg_1", 0, delta="Good day", logprobs=[]),
        _text_event("done", "msg_1", 0, text="Good day", logprobs=_scores("Good", " day")),
        ended(),
    ],
    "nothing but the whole text": [
        _text_event("done", "msg_1", 0, text="Good day", logprobs=_scores("Good", " day")),
        ended(FIRST),
    ],
    "scores with the whole item": [*said(FIRST, "Good", " day"), ended()],
    "scores with the response": [*said(FIRST, "Good", " day", done=False), ended(FIRST)],
    "only some of the pieces": [
        _text_event("delta", "msg_1", 0, delta="Good", logprobs=_scores("Good")),
        ended(FIRST),
    ],
}


@pytest.mark.parametrize("subject", RESPONSES, ids=lambda subject: subject.id)
@pytest.mark.parametrize("name", STREAMS)
def test_log_probabilities_come_once_wherever_they_are(subject: Subject, name: str) -> None:
    model = _model(subject, STREAMS[name], response(FIRST))
    assert _streamed(subject, model) == _whole(subject, model) == ("Good day", ["Good", " day"])


@pytest.mark.parametrize("subject", RESPONSES, ids=lambda subject: subject.id)
@pytest.mark.parametrize("items", [[BLANK], [BLANK, FIRST], [BLANK, FIRST, SECOND]], ids=len)
def test_messages_of_white_space_are_no_part_of_an_answer(subject: Subject, items: list[dict[str, Any]]) -> None:
    events = [one for place, item in enumerate(items) for one in said(item, *item["content"][0]["text"], place=place)]
    model = _model(subject, [*events, ended(*items)], response(*items))
    expected = [("", []), ("Good day", ["Good", " day"]), ("Good day\n\nBye", ["Good", " day", "Bye"])]
    assert _streamed(subject, model) == _whole(subject, model) == expected[len(items) - 1]


@pytest.mark.parametrize("subject", RESPONSES, ids=lambda subject: subject.id)
def test_white_space_before_a_text_stays(subject: Subject) -> None:
    item = message("\n\n Hi ")
    model = _model(subject, [*said(item, "\n", "\n", " ", "Hi", " "), ended(item)], response(item))
    assert _streamed(subject, model) == _whole(subject, model) == ("\n\n Hi ", [])


@pytest.mark.parametrize("subject", RESPONSES, ids=lambda subject: subject.id)
def test_pieces_of_two_messages_are_not_mixed(subject: Subject) -> None:
    mixed = [("Good", "msg_1", 0), ("Bye", "msg_2", 1), (" day", "msg_1", 0)]
    events = [_text_event("delta", item_id, place, delta=piece) for piece, item_id, place in mixed]
    with pytest.raises(InvalidResponseError, match="pieces of two items of the answer are mixed") as caught:
        _streamed(subject, _model(subject, [*events, ended(FIRST, SECOND)]))
    assert caught.value.partial_text == "Good\n\nBye"


@pytest.mark.parametrize("subject", RESPONSES, ids=lambda subject: subject.id)
def test_a_message_that_comes_too_late_is_not_put_behind_the_next(subject: Subject) -> None:
    events = [*said(SECOND, "Bye", place=1), ended(FIRST, SECOND)]
    with pytest.raises(InvalidResponseError, match="pieces of two items of the answer are mixed") as caught:
        _streamed(subject, _model(subject, events))
    assert caught.value.partial_text == "Bye"


@pytest.mark.parametrize("subject", RESPONSES, ids=lambda subject: subject.id)
def test_a_stream_that_ends_without_output_is_no_empty_answer(subject: Subject) -> None:
    end = {"id": "r", "object": "response", "status": "completed"}
    with pytest.raises(InvalidResponseError, match="output is missing"):
        _streamed(subject, _model(subject, [event("completed", response=end)]))


def _choice(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"id": "c", "model": "m", "choices": [{"index": index, "finish_reason": None, **fields}]}


@pytest.mark.parametrize("subject", [*CHAT_COMPLETIONS, *PROMPTS_OPENAI], ids=lambda subject: subject.id)
@pytest.mark.parametrize("index", [0, 1])
def test_choices_without_a_piece_are_no_empty_answer(subject: Subject, index: int) -> None:
    whole = {"message": {"role": "assistant", "content": "Good day"}, "finish_reason": "stop"}
    piece = {"text": "Good day"} if subject.kind == "prompt" else {"delta": {"content": "Good day"}}
    events = [_choice(**whole)] if index == 0 else [_choice(1, **piece), _choice(1, **piece, finish_reason="stop")]
    with pytest.raises(InvalidResponseError, match=r"held no answer|several answers"):
        _streamed(subject, _model(subject, events))


@pytest.mark.parametrize("subject", CHAT_COMPLETIONS, ids=lambda subject: subject.id)
def test_a_call_that_is_no_object_is_not_dropped(subject: Subject) -> None:
    events = [_choice(delta={"tool_calls": ["pay"]}), _choice(delta={}, finish_reason="stop")]
    with pytest.raises(InvalidResponseError, match="a tool call must be an object"):
        _streamed(subject, _model(subject, events))


@pytest.mark.parametrize("subject", PROMPTS_OPENAI, ids=lambda subject: subject.id)
def test_answers_to_a_prompt_are_not_mixed(subject: Subject) -> None:
    ends = [_choice(place, text="", finish_reason="stop") for place in (0, 1)]
    model = _model(subject, [_choice(text="Good"), _choice(1, text="Bye"), *ends])
    if subject.framework == "llama_index":
        assert _streamed(subject, model) == ("Good", [])
        return
    for asked in (model, model.model_copy(update={"streaming": True})):
        with pytest.raises(InvalidResponseError, match="several answers") as caught:
            _streamed(subject, asked) if asked is model else asked.invoke("hi")
        assert caught.value.partial_text == "Good"


def _token(text: str, generated: str | None = None) -> dict[str, Any]:
    details = {"finish_reason": "eos_token", "generated_tokens": 3, "seed": None}
    token = {"id": 1, "text": text, "logprob": -1.0, "special": False}
    return {"token": token, "generated_text": generated, "details": None if generated is None else details}


@pytest.mark.parametrize("subject", PROMPTS_TGI, ids=lambda subject: subject.id)
@pytest.mark.parametrize(
    "tokens",
    [["Good", " all"], [" day", " all"], ["Good", "Good", " day", " all"], ["Good", " all", " day"]],
    ids=["the middle is lost", "the start is lost", "doubled", "swapped"],
)
def test_tokens_that_contradict_the_whole_text_are_an_error(subject: Subject, tokens: list[str]) -> None:
    events = [_token(token) for token in tokens]
    events[-1] = _token(tokens[-1], "Good day all")
    with pytest.raises(InvalidResponseError, match="its final text differs from what was streamed"):
        _streamed(subject, _model(subject, events))


@pytest.mark.parametrize("subject", PROMPTS_TGI, ids=lambda subject: subject.id)
@pytest.mark.parametrize(
    ("generated", "text"),
    [
        ("Good day", "Good day\n"),
        (" Good  day\n", "Good day\n"),
        ("Good", "Good day\n"),
        ("Good day\n!", "Good day\n!"),
    ],
)
def test_a_whole_text_may_be_cut_or_decoded_otherwise(subject: Subject, generated: str, text: str) -> None:
    events = [_token("Good"), _token(" day"), _token("\n", generated)]
    assert _streamed(subject, _model(subject, events))[0] == text


@pytest.mark.parametrize("subject", PROMPTS_TGI, ids=lambda subject: subject.id)
def test_characters_of_several_tokens_contradict_nothing(subject: Subject) -> None:
    # TGI's backends that decode each token by itself have no text for a part of a character.
    events = [_token("Hi "), _token("\ufffd"), _token("\ufffd"), _token("!", "Hi \N{GRINNING FACE}!")]
    assert _streamed(subject, _model(subject, events))[0].startswith("Hi ")


@pytest.mark.parametrize("subject", CHAT_COMPLETIONS, ids=lambda subject: subject.id)
def test_a_blocked_answer_may_end_without_a_piece(subject: Subject) -> None:
    model = _model(subject, [{"id": "c", "choices": [{"index": 0, "finish_reason": "content_filter"}]}])
    assert _streamed(subject, model) == ("", [])
