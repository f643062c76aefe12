"""A blocked answer that holds a stop text, and base URLs that hold the route already, in both frameworks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan import errors
from linkspan_sandbox import Reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


@pytest.mark.parametrize("reason", ["content_filter", "violation"])
def test_a_blocked_answer_stays_one_at_a_stop_text(
    make_chat: Callable[..., Any], make_llm: Callable[..., Any], sandbox: Sandbox, reason: str
) -> None:
    sandbox.add_rule(Reply("one END two", finish_reason=reason))
    message = make_chat(stop="END").invoke("x")
    assert (message.content, message.response_metadata["finish_reason"]) == ("one ", reason)
    response = make_llm(stop="END").complete("x")
    assert (response.text, response.additional_kwargs["finish_reason"]) == ("one ", reason)
    with pytest.raises(errors.ContentBlockedError):
        make_chat(stop="END", raise_on_block=True).invoke("x")
    with pytest.raises(errors.ContentBlockedError):
        make_llm(stop="END", raise_on_block=True).complete("x")


def test_another_answer_ends_with_stop(make_chat: Callable[..., Any], sandbox: Sandbox) -> None:
    sandbox.add_rule(Reply("one END two", finish_reason="length"))
    message = make_chat(stop="END", raise_on_block=True).invoke("x")
    assert (message.content, message.response_metadata["finish_reason"]) == ("one ", "stop")


@pytest.mark.parametrize("end", ["", "/", "/chat/completion", "/chat/completion/"])
def test_a_base_url_may_hold_the_route(
    make_chat: Callable[..., Any],
    make_llm: Callable[..., Any],
    sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    end: str,
) -> None:
    address = f"{sandbox.gray_swan_url}{end}"
    assert make_chat(base_url=address).invoke("hello").content == "hello"
    assert make_llm(base_url=address).complete("hello").text == "hello"
    monkeypatch.setenv("GRAY_SWAN_BASE_URL", address)
    assert make_chat(base_url=None).invoke("hello").content == "hello"
