"""Tests of the ferry desk: no key, no network. Installing ``linkspan-sandbox`` adds the fixture to pytest."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import ferry_desk

from linkspan.conversation import ToolCall
from linkspan_sandbox import Cut, HTTPError, Reply

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox


def test_answers_in_the_models_words(linkspan_sandbox: Sandbox) -> None:
    """A rule sets the model's answer; the recorded request shows the question."""
    linkspan_sandbox.add_rule("Yes, for free.", when="dog")
    assert ferry_desk.answer("May my dog come along?") == "Yes, for free."
    sent = linkspan_sandbox.last_request.json
    assert sent["model"] == ferry_desk.MODEL
    assert sent["tools"][0]["function"]["name"] == "next_departure"


def test_looks_into_the_timetable_where_the_model_asks(linkspan_sandbox: Sandbox) -> None:
    """One rule per turn: the tool call, then the answer to its result."""
    linkspan_sandbox.add_rule(Reply(tool_calls=[ToolCall(None, "next_departure", '{"port": "Ostra"}')]), role="user")
    linkspan_sandbox.add_rule(lambda call: f"At {call.messages[-1]['content']}.", role="tool")
    assert ferry_desk.answer("When does the next ferry to Ostra leave?") == "At 09:00."
    assert len(linkspan_sandbox.requests) == 2


def test_asks_for_patience_at_the_rate_limit(linkspan_sandbox: Sandbox) -> None:
    """A fault: the API's own error for the status."""
    linkspan_sandbox.add_rule(Reply(fault=HTTPError(429)), times=1)
    assert ferry_desk.answer("Hello?") == ferry_desk.BUSY
    assert ferry_desk.answer("Hello?") == "Hello?"


def test_says_so_when_the_line_breaks(linkspan_sandbox: Sandbox) -> None:
    """A fault in the middle of a stream."""
    linkspan_sandbox.add_rule(Reply(["The ferry", " leaves", " at nine."], fault=Cut(after=2)))

    async def listen() -> str:
        return "".join([piece async for piece in ferry_desk.read_aloud("When?")])

    assert asyncio.run(listen()) == "The ferry leaves ... (the line broke)"
