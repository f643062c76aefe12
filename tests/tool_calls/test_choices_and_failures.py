"""Several answers in one stream are never mixed, and an answer that the server gave up on is an error."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from linkspan.errors import InvalidResponseError, LinkspanError, ServerError
from linkspan_sandbox import Reply
from tests.tool_calls.conftest import CHATS, RESPONSES, WAYS, answer_with, event, name_of, piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox
    from tests.tool_calls.conftest import Chat

TWO_CHOICES = Reply(
    events=[
        event({"tool_calls": [piece('{"to": "Ada"', name="pay", index=0, id="a")]}),
        event({"tool_calls": [piece('{"to": "Ben"}', name="look_up", index=0, id="b")]}, index=1),
        event({"tool_calls": [piece("}", index=0)]}),
        event({}, "tool_calls"),
        event({}, "tool_calls", index=1),
        "[DONE]",
    ]
)


def test_choices_of_a_stream_are_never_mixed(chat: Chat, make: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(TWO_CHOICES)
    model = make()
    for way in ("stream", "astream"):
        if chat.framework == "langchain":
            with pytest.raises(InvalidResponseError, match="several answers"):
                chat.ask(model, way)
        else:
            assert chat.ask(model, way).calls == [("a", "pay", {"to": "Ada"})], way


@pytest.mark.parametrize(("reason", "ways"), [("error", WAYS), ("abort", ("invoke", "astream"))])
def test_a_finish_reason_that_means_failure_is_an_error(
    chat: Chat, make: Callable[..., Any], sandbox: Sandbox, ways: tuple[str, ...], reason: str
) -> None:
    call = piece('{"to": "Ada"}', name="pay", id="a")
    message = {"role": "assistant", "content": "So far", "tool_calls": [call]}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    choice = {"index": 0, "message": message, "finish_reason": reason}
    events = [event({"content": "So far", "tool_calls": [{"index": 0, **call}]}), event({}, reason), "[DONE]"]
    sandbox.add_rule(lambda asked: Reply(events=events) if asked.stream else Reply(body={**body, "choices": [choice]}))
    model = make()
    for way in ways:
        with pytest.raises(LinkspanError, match=f"gave up on the answer .finish reason '{reason}'") as caught:
            chat.ask(model, way)
        assert isinstance(caught.value, ServerError), way
        assert caught.value.is_retryable, way
        assert caught.value.partial_text == "So far", way
        assert caught.value.partial is not None, way
        assert [made.name for made in caught.value.partial.tool_calls] == ["pay"], way
        assert pickle.loads(pickle.dumps(caught.value)).code == reason, way


@pytest.mark.parametrize("chat", [*CHATS, *RESPONSES], ids=name_of, indirect=True)
def test_a_second_call_is_dropped_where_the_request_forbids_it(
    chat: Chat, make: Callable[..., Any], sandbox: Sandbox
) -> None:
    # As from a server that ignores the parameter.
    answer_with(sandbox, piece("{}", name="pay", id="a"), piece("{}", name="look_up", id="b"))
    model = make()
    for way in WAYS:
        seen = chat.ask(model, way, parallel_tool_calls=False)
        assert [name for _, name, _ in seen.calls] == ["pay"], way
