"""Wrap a tool of LlamaIndex with Gray Swan's guard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, MessageRole, TextBlock
from llama_index.core.tools import FunctionTool, ToolOutput, adapt_to_async_tool

from linkspan.call_history import arguments_text
from linkspan.conversation import Message, ToolCall
from linkspan.guarding import Judgement, asettle, place_guards, settle
from linkspan.llama_index.cygnal import Cygnal, judged_chat_messages
from linkspan.llama_index.tools import tool_from
from linkspan.providers.cygnal import CYGNAL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from llama_index.core.tools import BaseTool

    from linkspan import cygnal as neutral
    from linkspan.guarding import Action, Check, OnFailure

    _Judging = Generator[Check, Judgement, Judgement | None]

__all__ = ["CygnalTool"]

_CALL_ID = "call"


class CygnalTool(FunctionTool):
    """Wraps a tool and guards its calls and results.

    Example:
        >>> agent = FunctionAgent(llm=llm, tools=[CygnalTool(fetch_page, Cygnal(policy_id="..."))])

    A call is judged before the tool runs, its result before it is returned; for results, `ipi` and `mutation` count.
    The text of an error that the tool raises is a result, too: a harmless error is raised again.
    Actions for flagged ones: with ``replace``, the result is a notice, marked as an error, and a flagged call does not
    run; with ``warn``, a warning is appended to the result; with ``observe``, nothing changes; ``block`` raises
    ``ContentBlockedError``, which LlamaIndex's agents show to the model as the tool's error. ``None`` turns a place
    off.

    Args:
        tool: The tool: any of LlamaIndex's, or a function.
        cygnal: The guard. Default: one created from the environment.
        tool_calls: Action for flagged calls.
        tool_results: Action for flagged results.
        on_failure: What to do while the guard is down: ``closed`` treats calls and results as flagged, ``raise``
            raises its error, ``open`` lets them pass.
        on_judgement: Called with each ``linkspan.guarding.Judgement``.

    Raises:
        ContentBlockedError: When run, with ``block``.
    """

    def __init__(
        self,
        tool: BaseTool | Callable[..., Any],
        cygnal: neutral.Cygnal | None = None,
        *,
        tool_calls: Action | None = "replace",
        tool_results: Action | None = "replace",
        on_failure: OnFailure = "closed",
        on_judgement: Callable[[Judgement], None] | None = None,
    ) -> None:
        made: Any = tool if hasattr(tool, "metadata") else FunctionTool.from_defaults(tool)
        self._tool = adapt_to_async_tool(made)
        judge = cygnal or Cygnal()
        self._guards = place_guards(
            judge,
            {"tool_calls": tool_calls, "tool_results": tool_results},
            on_failure=on_failure,
            on_tool_failure=on_failure,
            on_judgement=on_judgement,
        )
        super().__init__(fn=self._plain_call, async_fn=self._plain_acall, metadata=made.metadata)
        # Agents pass their context to tools that declare it.
        self.requires_context = getattr(made, "requires_context", False)
        self.ctx_param_name = getattr(made, "ctx_param_name", None)

    def call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Judge the call, run the tool, judge the result."""
        of_call = settle(self._judge_call(args, kwargs))
        if of_call is not None and of_call.withholds:
            return self._refused(of_call, kwargs)
        failure: Exception | None = None
        try:
            output = self._tool.call(*args, **kwargs)
        except Exception as error:
            if _is_interrupt(error):
                raise
            # Agents show its text to the model.
            output, failure = self._error_output(str(error), kwargs), error
        of_result = settle(self._judge_result(args, kwargs, output))
        return self._judged(_with_warning(output, of_call), of_result, failure, kwargs)

    async def acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        """Judge the call, run the tool, judge the result."""
        of_call = await asettle(self._judge_call(args, kwargs))
        if of_call is not None and of_call.withholds:
            return self._refused(of_call, kwargs)
        failure: Exception | None = None
        try:
            output = await self._tool.acall(*args, **kwargs)
        except Exception as error:
            if _is_interrupt(error):
                raise
            # Agents show its text to the model.
            output, failure = self._error_output(str(error), kwargs), error
        of_result = await asettle(self._judge_result(args, kwargs, output))
        return self._judged(_with_warning(output, of_call), of_result, failure, kwargs)

    # LlamaIndex wraps call and acall in proxies, which cannot be copied.
    def _plain_call(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return self.call(*args, **kwargs)

    async def _plain_acall(self, *args: Any, **kwargs: Any) -> ToolOutput:
        return await self.acall(*args, **kwargs)

    def _judge_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Judging:
        guard = self._guards.get("tool_calls")
        if guard is None:
            return None
        return (yield guard.check([self._turn(args, kwargs)], [tool_from(self._tool, CYGNAL.name)]))

    def _judge_result(self, args: tuple[Any, ...], kwargs: dict[str, Any], output: ToolOutput) -> _Judging:
        guard = self._guards.get("tool_results")
        if guard is None:
            return None
        extra = {"tool_call_id": _CALL_ID, "name": self.metadata.get_name(), "is_error": output.is_error}
        result = ChatMessage(role=MessageRole.TOOL, blocks=output.blocks, additional_kwargs=extra)
        return (yield guard.check([self._turn(args, kwargs), *judged_chat_messages([result])]))

    def _turn(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Message:
        """Return the call as a turn of a model."""
        given = {name: value for name, value in kwargs.items() if name != self.ctx_param_name}
        if args:
            given["args"] = list(args)
        name = self.metadata.get_name()
        arguments = arguments_text(given, name=name, place=0, provider=CYGNAL.name)
        return Message("assistant", tool_calls=[ToolCall(_CALL_ID, name, arguments)])

    def _refused(self, judgement: Judgement, kwargs: dict[str, Any]) -> ToolOutput:
        judgement.raise_if_blocked()
        return self._error_output(judgement.notice, kwargs)

    def _error_output(self, text: str, kwargs: dict[str, Any]) -> ToolOutput:
        given = {name: value for name, value in kwargs.items() if name != self.ctx_param_name}
        name = self.metadata.get_name()
        return ToolOutput(tool_name=name, content=text, raw_input=given, raw_output=text, is_error=True)

    def _judged(
        self, output: ToolOutput, judgement: Judgement | None, failure: Exception | None, kwargs: dict[str, Any]
    ) -> ToolOutput:
        """Return the result, or its replacement; raise a failure of the tool that passes."""
        if failure is not None and (judgement is None or judgement.action in {"pass", "observe"}):
            raise failure
        if judgement is not None and judgement.withholds:
            return self._refused(judgement, kwargs)
        return _with_warning(output, judgement)


def _is_interrupt(error: Exception) -> bool:
    """Whether it is no failure: a workflow pauses a tool that waits for an event by an exception."""
    return type(error).__module__.partition(".")[0] == "workflows"


def _with_warning(output: ToolOutput, judgement: Judgement | None) -> ToolOutput:
    if judgement is None or judgement.action != "warn":
        return output
    blocks = [*output.blocks, TextBlock(text=judgement.warning)]
    return output.model_copy(update={"blocks": blocks})
