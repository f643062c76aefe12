"""What must hold of every conversation that an agent sends, whichever framework runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from linkspan_sandbox import Sandbox


def chat_bodies(sandbox: Sandbox) -> list[dict[str, Any]]:
    """The bodies of all chat requests so far, in their order, each checked."""
    bodies = [request.json for request in sandbox.requests if request.path.endswith("/chat/completions")]
    for body in bodies:
        assert_well_formed(body["messages"])
    return bodies


def assert_well_formed(messages: list[dict[str, Any]]) -> None:
    """Each call is answered once, right behind the turn that made it; no content is ``""`` beside calls."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            assert message["tool_call_id"] in waiting, f"an answer to no open call: {message}"
            waiting.remove(message["tool_call_id"])
            continue
        assert not waiting, f"calls {waiting} were not answered before: {message}"
        assert "tool_call_id" not in message
        ids = [call["id"] for call in message.get("tool_calls", ())]
        assert len(set(ids)) == len(ids)
        assert all(ids)
        waiting.update(ids)
        if ids:
            assert message["content"] is None or message["content"], f"empty content beside calls: {message}"
    assert not waiting, f"calls {waiting} were never answered"


def calls_of(message: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call in a turn."""
    return [(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]]


def results_of(messages: list[dict[str, Any]]) -> dict[str, str]:
    """What each call was answered with."""
    return {message["tool_call_id"]: message["content"] for message in messages if message["role"] == "tool"}
