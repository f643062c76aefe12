"""Arguments that are wrong, or in another place than their own: what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from linkspan import errors
from tests.llama_index_completions.conftest import CHATS, PROMPTS, call_all, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from linkspan_sandbox import Sandbox


@pytest.mark.parametrize("stop", ["END", ["END"]])
def test_stop_among_the_further_parameters_is_enforced(make: Callable[..., Any], kind: str, stop: Any) -> None:
    llm = make(kind, stop="never", additional_kwargs={"stop": stop})
    for response in call_all(llm, "one two END three"):
        assert "END" not in text_of(response)
    assert llm.complete("one two END three", stop="two").text == "one "
    assert "END" in llm.complete("one two END three", stop=None).text


@pytest.mark.parametrize("prompt_kind", PROMPTS)
def test_the_apis_word_for_stop_among_the_further_parameters(make: Callable[..., Any], prompt_kind: str) -> None:
    llm = make(prompt_kind, additional_kwargs={"stop_sequences": ["END"], "max_new_tokens": 3})
    assert llm.complete("one two three four END").text == "one two three"
    assert llm.complete("one END three").text == "one "


@pytest.mark.parametrize("name", ["timeout", "model", "extra_headers", "api_key", "base_url"])
def test_what_is_no_parameter_is_refused_among_them(make: Callable[..., Any], kind: str, name: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=f"additional_kwargs contains {name!r}"):
        make(kind, additional_kwargs={name: "x"})


@pytest.mark.parametrize("prompt", [None, 5, ["a"]])
async def test_a_prompt_is_text(make: Callable[..., Any], kind: str, prompt: Any, sandbox: Sandbox) -> None:
    llm = make(kind)
    words = f"a prompt must be text, not {type(prompt).__name__}"
    with pytest.raises(errors.InvalidRequestError, match=words):
        llm.complete(prompt)
    with pytest.raises(errors.InvalidRequestError, match=words):
        list(llm.stream_complete(prompt))
    with pytest.raises(errors.InvalidRequestError, match=words):
        await llm.acomplete(prompt)
    assert not sandbox.requests


def test_a_slip_of_the_pen_is_not_sent(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    llm = make(kind)
    with pytest.raises(errors.ConfigurationError, match="Did you mean 'temperature'"):
        llm.complete("x", temprature=0.5)
    assert not sandbox.requests


@pytest.mark.parametrize("chat_kind", CHATS)
def test_other_words_of_the_api_are_sent(make: Callable[..., Any], chat_kind: str, sandbox: Sandbox) -> None:
    make(chat_kind).complete("x", logprobs=True, top_logprobs=2)
    assert sandbox.last_request.json["top_logprobs"] == 2


def test_none_stands_for_an_empty_mapping(make: Callable[..., Any], kind: str) -> None:
    llm = make(kind, additional_kwargs=None, extra_body=None)
    assert (llm.additional_kwargs, llm.extra_body) == ({}, {})
    with pytest.raises(errors.ConfigurationError, match="api_key must be text or a SecretStr, not int"):
        make(kind, api_key=5)


def test_extra_body_of_a_call_is_a_mapping(make: Callable[..., Any], kind: str, sandbox: Sandbox) -> None:
    with pytest.raises(errors.ConfigurationError, match="extra_body: Input should be a valid dictionary"):
        make(kind).complete("x", extra_body="y")
    assert not sandbox.requests
