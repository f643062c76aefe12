"""Points 25 to 28: tools, their calls, and agents."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, ToolCallBlock
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool

from linkspan.conversation import ToolCall
from linkspan.errors import LinkspanError
from linkspan_sandbox import Reply
from linkspan_sandbox.conformance.llama_index.base import CHAT_STREAMS, CHAT_WAYS, LLMSuite, Script, ask, each, last
from linkspan_sandbox.conformance.llama_index.messages import PNG
from linkspan_sandbox.conformance.needs import needs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["ToolTests"]


def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


ADD = FunctionTool.from_defaults(add)
SPECIFICATION = ADD.metadata.to_openai_tool()
CALLS = [ToolCall("a", "add", '{"x": 1, "y": 2}'), ToolCall("b", "add", '{"x": 30, "y": 4}')]
SELECTED = [{"x": 1, "y": 2}, {"x": 30, "y": 4}]
NAMED = {"type": "function", "function": {"name": "add"}}
_NEVER = object()


def _piece(index: int | None, call_id: str | None = None, name: str | None = None, text: str = "") -> dict[str, Any]:
    function = {"arguments": text} if name is None else {"name": name, "arguments": text}
    piece: dict[str, Any] = {"function": function}
    if index is not None:
        piece["index"] = index
    if call_id is not None:
        piece |= {"id": call_id, "type": "function"}
    return piece


#: How servers stream two calls: a list of pieces per event.
_STREAMED: dict[str, list[list[dict[str, Any]]]] = {
    "in one delta": [[_piece(0, "a", "add", '{"x": 1, "y": 2}'), _piece(1, "b", "add", '{"x": 30, "y": 4}')]],
    "one after the other": [
        [_piece(0, "a", "add")],
        [_piece(0, text='{"x": 1,')],
        [_piece(0, text=' "y": 2}')],
        [_piece(1, "b", "add")],
        [_piece(1, text='{"x": 30, "y": 4}')],
    ],
    "interleaved": [
        [_piece(0, "a", "add")],
        [_piece(1, "b", "add")],
        [_piece(0, text='{"x": 1,')],
        [_piece(1, text='{"x": 30,')],
        [_piece(0, text=' "y": 2}')],
        [_piece(1, text=' "y": 4}')],
    ],
    "repeated id and name": [
        [_piece(0, "a", "add", '{"x": 1,')],
        [_piece(0, "a", "add", ' "y": 2}')],
        [_piece(1, "b", "add", '{"x": 30,')],
        [_piece(1, "b", "add", ' "y": 4}')],
    ],
    "without index": [
        [_piece(None, "a", "add", '{"x": 1, "y": 2}')],
        [_piece(None, "b", "add", '{"x": 30, "y": 4}')],
    ],
    "without id": [
        [_piece(0, None, "add", '{"x": 1, "y": 2}')],
        [_piece(1, None, "add", '{"x": 30, "y": 4}')],
    ],
}


class ToolTests(LLMSuite):
    """Tools: offered, called and answered. For APIs with tools in Chat Completions form."""

    @needs("supports_tools")
    @pytest.mark.parametrize("required", [False, True])
    @pytest.mark.parametrize(
        ("choice", "sent"),
        [
            (_NEVER, None),
            (None, None),
            ("auto", "auto"),
            ("none", "none"),
            ("required", "required"),
            ("add", NAMED),
            (NAMED, NAMED),
        ],
        ids=["not given", "None", "auto", "none", "required", "name", "dict"],
    )
    def test_tool_choice(
        self, make: Callable[..., Any], script: Script, choice: Any, sent: Any, required: bool
    ) -> None:
        """Point 25: the request for each tool choice; ``None``, which core's programs pass, means not set."""
        script.reply("ok")
        options = {} if choice is _NEVER else {"tool_choice": choice}
        make().chat_with_tools([ADD], "1+2?", tool_required=required, **options)
        call = script.calls[-1]
        assert [tool["function"]["name"] for tool in call.tools] == ["add"]
        if sent is None and required:
            sent = "required"
        # Without a choice, servers use "auto"; with one tool, "required" requires that tool.
        same = {None: (None, "auto"), "auto": (None, "auto"), "required": ("required", NAMED)}
        assert call.tool_choice in (same[sent] if sent is None or (isinstance(sent, str) and sent in same) else (sent,))

    # ------------------------------------------------------------------ calls

    @needs(lambda suite: suite.supports_tools and suite.streams_chat_chunks)
    @each(CHAT_STREAMS)
    @pytest.mark.parametrize("how", list(_STREAMED))
    def test_streamed_parallel_calls(self, make: Callable[..., Any], script: Script, way: str, how: str) -> None:
        """Point 26: two calls arrive as two, however the server splits them, in blocks and ``additional_kwargs``."""
        deltas: list[Mapping[str, Any]] = [{"role": "assistant", "content": None}]
        deltas += [{"tool_calls": pieces} for pieces in _STREAMED[how]]
        script.reply(Reply(events=self.stream_of(deltas, "tool_calls")))
        llm = make()
        self._assert_both(llm, last(llm, way, tools=[SPECIFICATION]), ids=how != "without id")

    @needs("supports_tools")
    @each(CHAT_WAYS)
    def test_parallel_calls(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 26: also as the API sends them, streamed or not, with ``null`` as content."""
        script.reply(Reply(tool_calls=CALLS))
        llm = make()
        self._assert_both(llm, last(llm, way, tools=[SPECIFICATION]))

    @staticmethod
    def _assert_both(llm: Any, response: Any, *, ids: bool = True) -> None:
        selections = llm.get_tool_calls_from_response(response)
        assert [(selected.tool_name, selected.tool_kwargs) for selected in selections] == [
            ("add", arguments) for arguments in SELECTED
        ]
        found = [selected.tool_id for selected in selections]
        assert all(found)
        assert len(set(found)) == 2
        if ids:
            assert found == ["a", "b"]
        message = response.message
        assert len([block for block in message.blocks if isinstance(block, ToolCallBlock)]) == 2
        assert len(message.additional_kwargs["tool_calls"]) == 2
        assert (message.content or "") == ""

    @needs("supports_tools")
    def test_one_call_if_so_wanted(self, make: Callable[..., Any], script: Script) -> None:
        """Point 26: without ``allow_parallel_tool_calls`` one call is kept, in both places."""
        script.reply(Reply(tool_calls=CALLS))
        llm = make()
        response = llm.chat_with_tools([ADD], "?")
        assert [selected.tool_id for selected in llm.get_tool_calls_from_response(response)] == ["a"]
        assert len(response.message.additional_kwargs["tool_calls"]) == 1

    @needs("supports_tools")
    @each(CHAT_STREAMS)
    def test_half_written_arguments_never_raise(self, make: Callable[..., Any], script: Script, way: str) -> None:
        """Point 27: agents read the calls of every chunk; partial arguments yield a dict."""
        script.reply(Reply(tool_calls=[ToolCall("a", "add", '{"x": 1,  "y" : 2 }')]))
        llm = make()
        read = [
            [selected.tool_kwargs for selected in llm.get_tool_calls_from_response(chunk, error_on_no_tool_call=False)]
            for chunk in ask(llm, way, tools=[SPECIFICATION])
        ]
        assert read[-1] == [{"x": 1, "y": 2}]
        assert all(isinstance(arguments, dict) for arguments in itertools.chain(*read))

    @needs("supports_tools")
    @pytest.mark.parametrize("arguments", ['{"x": 1, "y', '{"x": ', "]", "[1]", '"', '{"x": 1}}'])
    def test_arguments_that_are_not_whole_raise(self, make: Callable[..., Any], script: Script, arguments: str) -> None:
        """Point 27: an answer whose final arguments are not one whole JSON object runs no tool."""
        script.reply(Reply(tool_calls=CALLS))
        llm = make()
        response = last(llm, "chat", tools=[SPECIFICATION])
        response.message.blocks = [ToolCallBlock(tool_call_id=None, tool_name="add", tool_kwargs=arguments)]
        with pytest.raises(LinkspanError, match="add"):
            llm.get_tool_calls_from_response(response)

    # ------------------------------------------------------------------ agents

    @needs("supports_tools")
    @pytest.mark.parametrize("streaming", [True, False])
    def test_an_agent_runs_parallel_calls(self, make: Callable[..., Any], script: Script, streaming: bool) -> None:
        """Point 28: ``FunctionAgent`` runs both calls and sends both results."""
        script.reply(Reply(tool_calls=CALLS), role="user")
        script.reply("3 and 34")
        answer, results = _run(FunctionAgent(tools=[ADD], llm=make(), streaming=streaming))
        assert answer == "3 and 34"
        assert results == {"a": "3", "b": "34"}
        *_, turn, first, second = script.calls[-1].messages
        assert [call["id"] for call in turn["tool_calls"]] == ["a", "b"]
        # The agent runs its tools at once, and sends their results in the order in which they end.
        assert {one["tool_call_id"]: one["content"] for one in (first, second)} == {"a": "3", "b": "34"}

    @needs("supports_tools")
    @pytest.mark.parametrize("streaming", [True, False])
    def test_an_agent_returns_a_tools_result(self, make: Callable[..., Any], script: Script, streaming: bool) -> None:
        """Point 28: ``return_direct`` ends the run, and the conversation can continue afterwards."""
        direct = FunctionTool.from_defaults(add, return_direct=True)
        script.reply(Reply(tool_calls=CALLS[:1]), role="user", times=1)
        script.reply("Again.")
        memory = Memory.from_defaults(session_id="conformance")
        answers = [
            _run(FunctionAgent(tools=[direct], llm=make(), streaming=streaming), question, memory=memory)[0]
            for question in ("Go", "And now?")
        ]
        assert answers == ["3", "Again."]
        for message in script.calls[-1].messages:
            assert message["role"] == "tool" or "tool_call_id" not in message

    @needs("supports_tools")
    @pytest.mark.parametrize("streaming", [True, False])
    def test_an_agent_shows_a_tools_image(self, make: Callable[..., Any], script: Script, streaming: bool) -> None:
        """Point 28: an image from a tool reaches the model, or raises an error that names it; it is not dropped."""

        def draw() -> list[Any]:
            """Draw a dot."""
            return [TextBlock(text="a dot"), ImageBlock(image=PNG)]

        script.reply(Reply(tool_calls=[ToolCall("a", "draw", "{}")]), role="user", times=1)
        script.reply("A dot.")
        agent = FunctionAgent(tools=[FunctionTool.from_defaults(draw)], llm=make(), streaming=streaming)
        if not (self.supports_images and self.supports_tool_images):
            with pytest.raises(Exception, match=r"(?i)image"):
                _run(agent)
            return
        assert _run(agent)[0] == "A dot."
        assert "data:image/png;base64," in script.sandbox.last_request.content.decode()

    @needs("supports_tools")
    @pytest.mark.parametrize("streaming", [True, False])
    def test_a_memory_is_loaded_again(self, make: Callable[..., Any], script: Script, streaming: bool) -> None:
        """Point 28: a conversation with calls continues after its memory was stored as JSON."""
        script.reply(Reply(tool_calls=CALLS), role="user", times=1)
        script.reply("3 and 34", role="tool")
        script.reply("Yes.")
        memory = Memory.from_defaults(session_id="conformance")
        _run(FunctionAgent(tools=[ADD], llm=make(), streaming=streaming), memory=memory)
        stored = [message.model_dump_json() for message in memory.get_all()]
        history = [ChatMessage.model_validate_json(message) for message in stored]
        agent = FunctionAgent(tools=[ADD], llm=make(), streaming=streaming)
        assert _run(agent, "Sure?", chat_history=history)[0] == "Yes."
        messages = script.calls[-1].messages
        assert [message["role"] for message in messages] == ["user", "assistant", "tool", "tool", "assistant", "user"]
        assert [call["id"] for call in messages[1]["tool_calls"]] == ["a", "b"]


def _run(agent: FunctionAgent, question: str = "Go", **options: Any) -> tuple[str, dict[str, str]]:
    """Run an agent; return its answer, and its tools' results by call id."""

    async def in_a_loop() -> tuple[str, dict[str, str]]:
        handler = agent.run(question, **options)
        results = {
            event.tool_id: event.tool_output.content
            async for event in handler.stream_events()
            if isinstance(event, ToolCallResult)
        }
        answer = str(await handler)
        if hasattr(agent.llm, "aclose"):
            await agent.llm.aclose()
        return answer, results

    return asyncio.run(in_a_loop())
