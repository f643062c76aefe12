"""Answers of the Responses API in both frameworks: every documented event, in any order, and what is no answer."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ThinkingBlock

from linkspan.errors import (
    InterruptedStreamError,
    InvalidRequestError,
    InvalidResponseError,
    LinkspanError,
    RateLimitError,
    ServerError,
)
from linkspan.langchain import ChatScaleway
from linkspan.llama_index import Scaleway
from linkspan_sandbox import Reply
from tests.support.responses import call, created, ended, event, message, reasoning, refusal, response, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from linkspan_sandbox import Sandbox


@dataclass
class Seen:
    """What a user sees of an answer."""

    text: str
    reasoning: str
    refusal: str
    calls: list[tuple[str | None, str, Any]]
    finish: str | None
    extra: dict[str, Any]
    raw: Any = None


class Asker:
    """One framework's class over the Responses API."""

    def __init__(self, framework: str, sandbox: Sandbox) -> None:
        cls = ChatScaleway if framework == "langchain" else Scaleway
        where = {"base_url": sandbox.scaleway_url, "api_key": "any", "max_retries": 0}
        self.framework = framework
        self.sandbox = sandbox
        self.model: Any = cls(model="gpt-oss-120b", api="responses", **where)

    def stream(self, *events: Any, **options: Any) -> Seen:
        """Let the server stream these events."""
        self.sandbox.reset()
        self.sandbox.add_rule(Reply(events=list(events)))
        if self.framework == "langchain":
            first, *rest = list(self.model.stream("x", **options))
            return _seen_message(sum(rest, first))
        return _seen_response(list(self.model.stream_chat([ChatMessage("x")], **options))[-1])

    def ask(self, body: Any, **options: Any) -> Seen:
        """Let the server answer with this body."""
        self.sandbox.reset()
        self.sandbox.add_rule(Reply(body=body))
        if self.framework == "langchain":
            return _seen_message(self.model.invoke("x", **options))
        return _seen_response(asyncio.run(self.model.achat([ChatMessage("x")], **options)))

    def sent_back(self, seen: Seen) -> Any:
        """Return the input of a next call, with an answer's reasoning."""
        self.sandbox.reset()
        if self.framework == "langchain":
            self.model.invoke([seen.raw, ("user", "and?")], send_reasoning=True)
        else:
            self.model.chat([seen.raw.message, ChatMessage("and?")], send_reasoning=True)
        return self.sandbox.requests[-1].json["input"]

    def fails(self, *events: Any) -> LinkspanError:
        """Return the error of a stream."""
        with pytest.raises(LinkspanError) as caught:
            self.stream(*events)
        return caught.value


def _seen_message(answer: Any) -> Seen:
    metadata = answer.response_metadata
    return Seen(
        answer.content,
        answer.additional_kwargs.get("reasoning_content", ""),
        answer.additional_kwargs.get("refusal", ""),
        [(one["id"], one["name"], one["args"]) for one in answer.tool_calls],
        metadata["finish_reason"],
        metadata.get("extra", {}),
        answer,
    )


def _seen_response(answer: Any) -> Seen:
    blocks = answer.message.blocks
    return Seen(
        answer.message.content or "",
        "".join(block.content or "" for block in blocks if isinstance(block, ThinkingBlock)),
        answer.additional_kwargs.get("refusal", ""),
        [(one.tool_call_id, one.tool_name, one.tool_kwargs) for one in blocks if one.block_type == "tool_call"],
        answer.additional_kwargs["finish_reason"],
        answer.raw,
        answer,
    )


@pytest.fixture(params=["langchain", "llama_index"])
def asker(request: pytest.FixtureRequest, sandbox: Sandbox) -> Iterator[Asker]:
    made = Asker(request.param, sandbox)
    yield made
    made.model.close()


THOUGHT = reasoning("Hm. So.")
HELLO = message("Hello wörld")
ADA = call('{"to": "Ada"}', "pay", "a", "fc_a")
BEN = call('{"to": "Ben"}', "look_up", "b", "fc_b")
EVERYTHING = [
    created(),
    event("queued", response=response(status="queued", usage=None)),
    event("in_progress", response=response(status="in_progress", usage=None)),
    event("output_item.added", output_index=0, item={**THOUGHT, "content": []}),
    event("content_part.added", output_index=0, item_id="rs_1", content_index=0, part={"type": "reasoning_text"}),
    event("reasoning_part.added", output_index=0, item_id="rs_1", content_index=0, part={"type": "reasoning_text"}),
    event("reasoning_text.delta", output_index=0, item_id="rs_1", content_index=0, delta="Hm."),
    event("reasoning_text.delta", output_index=0, item_id="rs_1", content_index=0, delta=" So."),
    event("reasoning_text.done", output_index=0, item_id="rs_1", content_index=0, text="Hm. So."),
    event("output_item.done", output_index=0, item=THOUGHT),
    *said(HELLO, "Hello", " wö", "rld", place=1)[:-1],
    event("output_text.annotation.added", output_index=1, item_id="msg_1", annotation={"type": "url_citation"}),
    event("content_part.done", output_index=1, item_id="msg_1", content_index=0, part=HELLO["content"][0]),
    event("output_item.done", output_index=1, item=HELLO),
    *said(ADA, '{"to"', ': "Ada"}', place=2),
    *said(BEN, "", '{"to": "Ben"}', place=3),
    event("something.new", output_index=1, note="adds nothing"),
    ended(THOUGHT, HELLO, ADA, BEN),
]
ALL = Seen(
    "Hello wörld",
    "Hm. So.",
    "",
    [("a", "pay", {"to": "Ada"}), ("b", "look_up", {"to": "Ben"})],
    "tool_calls",
    {},
)


def same(seen: Seen, wanted: Seen) -> None:
    seen.extra, seen.raw = wanted.extra, wanted.raw
    assert seen == wanted


def test_every_documented_event(asker: Asker) -> None:
    seen = asker.stream(*EVERYTHING)
    if asker.framework == "langchain":
        assert seen.raw.id == "resp_1"
        assert seen.raw.response_metadata["model_name"] == "served"
        assert seen.raw.usage_metadata["input_token_details"] == {"cache_read": 1}
        assert seen.raw.usage_metadata["output_token_details"] == {"reasoning": 2}
    else:
        assert [seen.raw.additional_kwargs[name] for name in ("cached_tokens", "reasoning_tokens")] == [1, 2]
    same(seen, ALL)


def test_a_whole_answer_says_the_same(asker: Asker) -> None:
    same(asker.ask(response(THOUGHT, HELLO, ADA, BEN)), ALL)


@pytest.mark.parametrize(
    "kinds",
    [
        {"response.completed"},
        {"response.output_item.done", "response.completed"},
        {"response.output_item.added", "response.output_text.done", "response.completed"},
        {one["type"] for one in EVERYTHING} - {"response.output_item.added"},
        {one["type"] for one in EVERYTHING} - {"response.output_item.done"},
    ],
    ids=["the end alone", "whole items", "whole parts", "no heads", "no whole items"],
)
def test_whatever_is_left_out_is_made_up_for(asker: Asker, kinds: set[str]) -> None:
    same(asker.stream(*(one for one in EVERYTHING if one["type"] in kinds)), ALL)


@pytest.mark.parametrize("lost", [("output_index",), ("item_id", "content_index"), ("item_id", "output_index")])
def test_items_are_told_apart_by_id_or_place_or_order(asker: Asker, lost: tuple[str, ...]) -> None:
    # llama.cpp sends ids and no places.
    events = [{name: value for name, value in one.items() if name not in lost} for one in EVERYTHING]
    if "item_id" in lost and "output_index" in lost:
        events = [{**one, "item": {**one["item"], "id": None}} if "item" in one else one for one in events]
    same(asker.stream(*events), ALL)


def test_ids_of_the_end_may_be_others(asker: Asker) -> None:
    # As vLLM made them for some time.
    others = [{**item, "id": f"other_{item['id']}"} for item in (THOUGHT, HELLO, {**ADA, "call_id": "z"}, BEN)]
    same(asker.stream(*EVERYTHING[:-1], ended(*others)), ALL)


def test_the_end_may_have_another_order(asker: Asker) -> None:
    same(asker.stream(*EVERYTHING[:-1], ended(THOUGHT, BEN, HELLO, ADA)), ALL)


def test_items_of_two_kinds_may_share_an_id(asker: Asker) -> None:
    # Of vLLM's, thoughts and text.
    thought = {**THOUGHT, "id": "msg_1"}
    events = [
        event("output_item.added", output_index=0, item={**thought, "content": []}),
        *said(HELLO, "Hello wörld", place=1),
    ]
    seen = asker.stream(created(), *events, ended(thought, HELLO))
    assert (seen.text, seen.reasoning) == ("Hello wörld", "Hm. So.")


def test_arguments_in_the_head_of_a_call_are_repeated_by_its_pieces(asker: Asker) -> None:
    head, *rest = said(ADA, '{"to": "Ada"}')
    head = {**head, "item": {**head["item"], "arguments": '{"to": "Ada"}'}}
    assert asker.stream(created(), head, *rest, ended(ADA)).calls == ALL.calls[:1]


def test_a_name_may_come_last(asker: Asker) -> None:
    head, *rest = said(ADA, '{"to": ', '"Ada"}')
    head = {**head, "item": {**head["item"], "name": ""}}
    assert asker.stream(created(), head, *rest, ended(ADA)).calls == ALL.calls[:1]


def test_a_call_without_a_name_is_no_answer(asker: Asker) -> None:
    nameless = call("{}", name=None)
    error = asker.fails(created(), *said(nameless, "{}")[:-1], ended())
    assert isinstance(error, InvalidResponseError)
    assert "names no function" in str(error)


def test_summaries_of_reasoning(asker: Asker) -> None:
    thought = reasoning(summary=["First.", "Then."])
    where = {"output_index": 0, "item_id": "rs_1"}
    events = [
        event("reasoning_summary_part.added", **where, summary_index=0, part={"type": "summary_text", "text": ""}),
        event("reasoning_summary_text.delta", **where, summary_index=0, delta="First"),
        event("reasoning_summary_text.delta", **where, summary_index=0, delta="."),
        event("reasoning_summary_text.done", **where, summary_index=0, text="First."),
        event("reasoning_summary_part.done", **where, summary_index=0, part={"type": "summary_text", "text": "First."}),
        event("reasoning_summary_text.delta", **where, summary_index=1, delta="Then."),
        event("reasoning_summary_text.done", **where, summary_index=1, text="Then."),
        event("output_item.done", output_index=0, item=thought),
    ]
    seen = asker.stream(created(), *events, ended(thought, HELLO))
    assert (seen.reasoning, seen.text) == ("First.\n\nThen.", "Hello wörld")
    assert asker.ask(response(thought, HELLO)).reasoning == seen.reasoning
    for left_out in ("delta", "done", "summary_index"):
        fewer = [
            {name: value for name, value in one.items() if name != left_out or not one["type"].endswith("done")}
            for one in events
            if not one["type"].endswith(f"text.{left_out}")
        ]
        assert asker.stream(created(), *fewer, ended(thought, HELLO)).reasoning == seen.reasoning, left_out


def test_thoughts_are_not_said_twice(asker: Asker) -> None:
    both = reasoning("All of it.", ["The gist."])
    for seen in (asker.ask(response(both, HELLO)), asker.stream(created(), ended(both, HELLO))):
        assert seen.reasoning == "All of it."


def test_a_refusal(asker: Asker) -> None:
    where = {"output_index": 0, "item_id": "msg_1", "content_index": 0}
    no = refusal("I won't.")
    pieces = [event("refusal.delta", **where, delta=piece) for piece in ("I", " won't.")]
    seen = asker.stream(created(), *pieces, event("refusal.done", **where, refusal="I won't."), ended(no))
    assert (seen.refusal, seen.text) == ("I won't.", "")
    assert asker.ask(response(no)).refusal == "I won't."


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_refusal_stays_in_the_conversation(asker: Asker, is_streamed: bool) -> None:
    said_no = refusal("I cannot.")
    seen = asker.stream(created(), ended(said_no)) if is_streamed else asker.ask(response(said_no))
    assert asker.sent_back(seen)[0] == {"type": "message", "role": "assistant", "content": "I cannot."}


def test_two_messages_are_two_paragraphs(asker: Asker) -> None:
    first, second = message("I look.", "msg_1"), message("Found.", "msg_2")
    events = [*said(first, "I look."), *said(second, "Fo", "und.", place=1)]
    assert asker.stream(created(), *events, ended(first, second)).text == "I look.\n\nFound."
    assert asker.ask(response(first, second)).text == "I look.\n\nFound."


def test_white_space_decides_nothing(asker: Asker) -> None:
    # vLLM reads an answer once for the stream and once more for its end.
    blank, hello = message("\n\n", "msg_0"), message("\n\nHello wörld\n")
    compact = {**ADA, "arguments": '{"to":"Ada"}'}
    events = [*said(HELLO, "Hello", " wörld"), *said(ADA, '{"to": ', '"Ada"}', place=1)]
    seen = asker.stream(created(), *events, ended(blank, hello, compact))
    assert (seen.text, seen.calls) == ("Hello wörld", ALL.calls[:1])


@pytest.mark.parametrize(
    ("streamed", "end"),
    [
        (said(HELLO, "Hello wörld"), message("Goodbye")),
        (said(HELLO, "Hello wörld"), message("Hello")),
        (said(ADA, '{"to": "Ada"}'), {**ADA, "arguments": '{"to": "Ben"}'}),
        (said(ADA, '{"to": "Ada"}'), {**ADA, "name": "other"}),
        (said(THOUGHT, "Hm. So."), reasoning("Other thoughts.")),
        ([*said(HELLO, "Hel", done=False), event("output_text.done", item_id="msg_1", text="Goodbye")], HELLO),
    ],
    ids=["text", "cut text", "arguments", "name", "reasoning", "part"],
)
def test_an_answer_that_contradicts_itself_is_none(asker: Asker, streamed: list[Any], end: dict[str, Any]) -> None:
    error = asker.fails(created(), *streamed, ended(end))
    assert isinstance(error, InvalidResponseError)
    assert "contradicts itself" in str(error)


@pytest.mark.parametrize("end", [[], ["[DONE]"]], ids=["nothing", "an end mark"])
def test_without_its_end_an_answer_is_not_whole(asker: Asker, end: list[Any]) -> None:
    error = asker.fails(created(), *said(HELLO, "Hello wörld"), *end)
    assert isinstance(error, InterruptedStreamError)
    assert error.partial_text == "Hello wörld"


def test_nothing_is_no_answer(asker: Asker) -> None:
    assert "held no answer" in str(asker.fails("[DONE]"))


@pytest.mark.parametrize(
    "end",
    [
        event("failed", response=response(status="failed", error={"code": "server_error", "message": "it broke"})),
        event("failed", response=response(status="failed")),
        event("cancelled", response=response(status="cancelled")),
        event("completed", response=response(HELLO, error={"code": "server_error", "message": "it broke"})),
        {"type": "error", "code": "server_error", "message": "it broke", "param": None},
        {"error": {"message": "it broke", "type": "InternalServerError", "code": 500}},
    ],
    ids=["failed", "failed without a word", "cancelled", "completed with an error", "error", "an error's body"],
)
def test_an_answer_that_failed(asker: Asker, end: dict[str, Any]) -> None:
    error = asker.fails(created(), *said(HELLO, "Hello", done=False), end)
    assert isinstance(error, ServerError)
    assert error.partial_text == "Hello"
    assert any(words in str(error) for words in ("it broke", "gave up"))


@pytest.mark.parametrize(
    ("code", "kind"),
    [("rate_limit_exceeded", RateLimitError), ("invalid_prompt", InvalidRequestError), ("server_error", ServerError)],
)
def test_the_code_of_an_error_is_its_kind(asker: Asker, code: str, kind: type[LinkspanError]) -> None:
    told = {"code": code, "message": "it broke"}
    failed = response(status="failed", error=told)
    for error in (
        asker.fails(created(), *said(HELLO, "Hello", done=False), {"type": "error", **told, "param": None}),
        asker.fails({"type": "error", **told, "param": None}),
        asker.fails(created(), event("failed", response=failed)),
    ):
        assert isinstance(error, kind)
        assert error.code == code
    with pytest.raises(kind, match="it broke"):
        asker.ask(failed)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("other", "other"), ("", "incomplete")],
)
def test_why_an_answer_is_incomplete(asker: Asker, reason: str, finish: str) -> None:
    events = [created(), *said(HELLO, "Hello", " wörld")]
    # vLLM says completed of the event where the response is not.
    assert asker.stream(*events, ended(HELLO, reason=reason)).finish == finish
    end = {**ended(HELLO, reason=reason), "type": "response.incomplete"}
    assert asker.stream(*events, end).finish == finish
    assert asker.ask(response(HELLO, reason=reason)).finish == finish


def test_an_incomplete_item_of_a_completed_response(asker: Asker) -> None:
    half = {**HELLO, "status": "incomplete"}
    assert asker.ask(response(half)).finish == "incomplete"
    assert asker.stream(created(), *said(HELLO, "Hello", " wörld", done=False), ended(half)).finish == "incomplete"
    # Its arguments may be missing, so it does not run; see tests/tool_calls.
    assert asker.ask(response({**call(""), "status": "incomplete"})).finish == "incomplete"


def test_llama_cpp_calls_a_cut_answer_completed(asker: Asker) -> None:
    cut = response(HELLO)
    del cut["incomplete_details"]
    assert [asker.ask(cut, max_tokens=limit).finish for limit in (7, 8)] == ["length", "stop"]
    assert asker.stream(created(), event("completed", response=cut), max_tokens=7).finish == "length"
    # Where the server has a word for it, its silence counts.
    assert asker.ask(response(HELLO), max_tokens=7).finish == "stop"


@pytest.mark.parametrize("status", ["in_progress", "queued", "odd"])
def test_an_answer_that_goes_on_is_not_whole(asker: Asker, status: str) -> None:
    with pytest.raises(InvalidResponseError, match="has not ended"):
        asker.ask(response(HELLO, status=status))
    assert "has not ended" in str(asker.fails(created(), ended(HELLO, status=status)))


def test_a_piece_of_an_unknown_kind_is_not_overlooked(asker: Asker) -> None:
    error = asker.fails(created(), event("audio.delta", output_index=0, item_id="msg_1", delta="AAAA"))
    assert isinstance(error, InvalidResponseError)
    assert "response.audio.delta" in str(error)


def test_a_part_of_an_unknown_kind_is_not_overlooked(asker: Asker) -> None:
    odd = {**HELLO, "content": [{"type": "output_audio", "data": "AAAA"}]}
    with pytest.raises(InvalidResponseError, match="output_audio"):
        asker.ask(response(odd))


def test_a_servers_own_tool_is_told_beside_the_answer(asker: Asker) -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    events = [
        event("output_item.added", output_index=0, item={**search, "status": "in_progress"}),
        event("web_search_call.searching", output_index=0, item_id="ws_1"),
        event("web_search_call_query.delta", output_index=0, item_id="ws_1", delta="w"),
        event("output_item.done", output_index=0, item=search),
        *said(HELLO, "Hello wörld", place=1),
    ]
    seen = asker.stream(created(), *events, ended(search, HELLO))
    assert seen.text == "Hello wörld"
    assert seen.extra["other_output"] == [search]


def test_annotations_are_kept(asker: Asker) -> None:
    noted = message("Hello", annotations=[{"type": "url_citation", "url": "https://example.org"}])
    seen = asker.stream(created(), *said(noted, "Hello"), ended(noted))
    assert seen.extra["annotations"] == noted["content"][0]["annotations"]


@pytest.mark.parametrize("logprobs", ["pieces", "end"])
def test_log_probabilities(asker: Asker, logprobs: str) -> None:
    score = {"token": "Hello", "logprob": -0.5, "top_logprobs": [{"token": "Hello", "logprob": -0.5}]}
    scored = message("Hello", logprobs=[score])
    piece = event(
        "output_text.delta", output_index=0, item_id="msg_1", content_index=0, delta="Hello", logprobs=[score]
    )
    seen = asker.stream(created(), *([piece] if logprobs == "pieces" else []), ended(scored))
    if asker.framework == "langchain":
        assert [one["token"] for one in seen.raw.response_metadata["logprobs"]["content"]] == ["Hello"]


def test_chat_completions_are_not_this_api(asker: Asker) -> None:
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    assert "not from the Responses API" in str(asker.fails(chunk))
    with pytest.raises(InvalidResponseError, match="not a response"):
        asker.ask({"id": "c", "object": "chat.completion", "choices": []})


@pytest.mark.parametrize("way", ["whole", "streamed", "with other ids at the end", "at the end", "before the end"])
def test_encrypted_reasoning_needs_no_text(asker: Asker, way: str) -> None:
    secrets = [reasoning(item_id=f"rs_{name}", encrypted_content=name) for name in "ab"]
    output = [*secrets, HELLO]
    late = [{**item, "encrypted_content": None} for item in output] if way == "at the end" else output
    items = [event("output_item.done", output_index=place, item=item) for place, item in enumerate(late)]
    if way == "with other ids at the end":
        output = [{**item, "id": f"other_{item['id']}"} for item in output]
    end = [HELLO] if way == "before the end" else output
    seen = asker.ask(response(*output)) if way == "whole" else asker.stream(created(), *items, ended(*end))
    assert (seen.text, seen.reasoning) == ("Hello wörld", "")
    assert [item["encrypted_content"] for item in asker.sent_back(seen) if item.get("type") == "reasoning"] == [
        "a",
        "b",
    ]


def test_encrypted_reasoning_goes_back_as_it_came(asker: Asker) -> None:
    thought = reasoning("Hm.", encrypted_content="c2VjcmV0")
    seen = asker.stream(created(), *said(thought, "Hm."), *said(HELLO, "Hello wörld", place=1), ended(thought, HELLO))
    item, spoken, _ = asker.sent_back(seen)
    content = [{"type": "reasoning_text", "text": "Hm."}]
    wanted = {"type": "reasoning", "summary": [], "content": content, "encrypted_content": "c2VjcmV0"}
    assert {name: value for name, value in item.items() if name != "id"} == wanted
    assert spoken["content"] == "Hello wörld"
