"""Middleware for LangChain's agents: Gray Swan's guard on all text that comes in or goes out.

Needs the package ``langchain``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from langchain.agents.middleware import AgentMiddleware, ModelResponse, hook_config
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.types import Command

from linkspan.conversation import Message, Text, ToolCall
from linkspan.guarding import (
    JUDGEMENT_KEY,
    Check,
    Judgement,
    asettle,
    first_new,
    place_guards,
    place_of,
    refusal_of,
    settle,
)
from linkspan.langchain.chunks import to_ai_message
from linkspan.langchain.content_blocks import register_blocks
from linkspan.langchain.cygnal import Cygnal, judged_messages
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.held_streams import streams_held
from linkspan.langchain.tools import to_tools
from linkspan.providers.cygnal import CYGNAL, says_nothing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from contextlib import AbstractContextManager

    from langchain.agents.middleware import ModelRequest, ToolCallRequest

    from linkspan import cygnal
    from linkspan.guarding import Action, OnFailure

__all__ = ["CygnalMiddleware"]

ResultT = TypeVar("ResultT")
MessageT = TypeVar("MessageT", bound=BaseMessage)
#: A generator that yields checks and returns the result of handling their judgements.
if TYPE_CHECKING:
    Steps = Generator[Check, Judgement, ResultT]
    ToolResult = ToolMessage | Command[Any]

#: Facts of a withheld answer, which was paid for, that its refusal keeps.
_PAID = ("model_provider", "model_name", "token_usage", "rate_limit", "request_id")

register_blocks(CYGNAL.name)


class CygnalMiddleware(AgentMiddleware[Any, Any]):
    """Guards an agent: its questions, tool calls, tool results and answers.

    ::

        agent = create_agent(model, tools=[fetch_page], middleware=[CygnalMiddleware(Cygnal(policy_id="..."))])

    Judges four places, each with the preceding conversation; ``None`` turns a place off.

    - ``questions``: new human messages, before the model reads them.
    - ``tool_calls``: each tool call, before the tool runs.
    - ``tool_results``: each tool result, and data messages, before the model reads them. Here the findings
      `ipi` and `mutation` count, too (``Cygnal(injection=...)``).
    - ``answers``: each turn of the model with text.

    Actions for flagged text:

    - ``block``: the run ends, with a notice as its last message: the policy's block message, as a refusal that
      ``ModelRefusalMiddleware`` knows. Flagged questions and results are removed from the conversation, so that no
      later turn shows them to the model.
    - ``replace``: a notice replaces it, and the run continues. A replaced call does not run.
    - ``warn``: a warning is appended.
    - ``observe``: nothing changes.

    Answers and tool results keep their judgement in ``response_metadata["cygnal"]``. Put the middleware first in the
    list: the first one is the outermost, and sees the answers and results that the others change. Only middleware that
    adds messages in ``before_model`` goes before it. The system prompt is not sent.

    Args:
        cygnal: The guard, from ``linkspan.langchain`` or ``linkspan``. Default: one created from the environment.
        questions: Action for flagged questions.
        tool_calls: Action for flagged calls.
        tool_results: Action for flagged results.
        answers: Action for flagged answers.
        on_failure: How to handle questions and answers while the guard is down: ``raise`` its error, ``closed`` to
            treat them as flagged, ``open`` to let them pass. A wrong key, or a refused request, always raises.
        on_tool_failure: The same for calls and their results.
        raise_on_block: Raise ``ContentBlockedError`` instead of ending the run on ``block``.
        hold_streams: Hold back streamed answers until they are judged; they then arrive in one piece. Only if answers
            are blocked or replaced. Events of tools (``astream_events``, ``stream_mode="tools"``) show results as the
            tool returned them.
        on_judgement: Called with each ``linkspan.guarding.Judgement``, on the thread that created it.

    Raises:
        ConfigurationError: At construction: no ``cygnal``, and no key in the environment.
        ContentBlockedError: When run, with ``raise_on_block``.
        ModelError: When run: the guard failed.
    """

    def __init__(
        self,
        cygnal: cygnal.Cygnal | None = None,
        *,
        questions: Action | None = "block",
        tool_calls: Action | None = "replace",
        tool_results: Action | None = "replace",
        answers: Action | None = "block",
        on_failure: OnFailure = "raise",
        on_tool_failure: OnFailure = "closed",
        raise_on_block: bool = False,
        hold_streams: bool = True,
        on_judgement: Callable[[Judgement], None] | None = None,
    ) -> None:
        super().__init__()
        self.cygnal = cygnal or Cygnal()
        self._guards = place_guards(
            self.cygnal,
            {"questions": questions, "tool_calls": tool_calls, "tool_results": tool_results, "answers": answers},
            on_failure=on_failure,
            on_tool_failure=on_tool_failure,
            on_judgement=on_judgement,
        )
        self._raise_on_block = raise_on_block
        self._holds = hold_streams and answers in {"block", "replace"}

    # ------------------------------------------------------------------ before the model: what is new

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:  # noqa: ARG002  # core's signature
        """Judge the messages since the model's last turn."""
        with converted_errors():
            return settle(self._new_messages(state["messages"]))

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: Any, runtime: Any) -> dict[str, Any] | None:  # noqa: ARG002  # core's signature
        """Judge the messages since the model's last turn."""
        with converted_errors():
            return await asettle(self._new_messages(state["messages"]))

    def _new_messages(self, messages: Sequence[BaseMessage]) -> Steps[dict[str, Any] | None]:
        seen = list(messages)
        changed: list[BaseMessage] = []
        notice: str | None = None
        roles = ["assistant" if isinstance(message, AIMessage) else message.type for message in messages]
        for place in range(first_new(roles), len(seen)):
            message = seen[place]
            kept = message.response_metadata.get(JUDGEMENT_KEY)
            if isinstance(message, ToolMessage) and kept:
                # Already judged when the tool returned it; only here can the run end.
                notice = message.text if kept["action"] == "block" else notice
                continue
            (turn,) = judged_messages([message])
            guarded = place_of(turn)
            if guarded not in self._guards:
                continue
            judgement = yield self._guards[guarded].check([*judged_messages(seen[:place]), turn])
            after = self._after(message, judgement)
            if after is not message:
                seen[place] = after
                changed.append(after)
            if judgement.action == "block":
                notice = judgement.notice
        if notice is not None:
            return {"messages": [*changed, _refusal(notice)], "jump_to": "end"}
        return {"messages": changed} if changed else None

    def _after(self, message: MessageT, judgement: Judgement) -> MessageT:
        """Return a message after its judgement: itself, if nothing changes."""
        if self._raise_on_block:
            judgement.raise_if_blocked()
        kept = {"response_metadata": {**message.response_metadata, JUDGEMENT_KEY: judgement.summary}}
        if judgement.withholds:
            update: dict[str, Any] = {**kept, "content": judgement.notice}
            if isinstance(message, ToolMessage):
                update.update(status="error", artifact=None)
            return message.model_copy(update=update)
        if judgement.action == "warn":
            return message.model_copy(update={**kept, "content": _with_warning(message, judgement)})
        return message.model_copy(update=kept) if isinstance(message, ToolMessage) else message

    # ------------------------------------------------------------------ tools

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """Judge a call, run it, judge its result."""
        with converted_errors():
            judgement = settle(self._call(request))
        if judgement is not None and judgement.withholds:
            return self._refused(request, judgement)
        result = handler(request)
        with converted_errors():
            return settle(self._result(request, judgement, result))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Judge a call, run it, judge its result."""
        with converted_errors():
            judgement = await asettle(self._call(request))
        if judgement is not None and judgement.withholds:
            return self._refused(request, judgement)
        result = await handler(request)
        with converted_errors():
            return await asettle(self._result(request, judgement, result))

    def _call(self, request: ToolCallRequest) -> Steps[Judgement | None]:
        if "tool_calls" not in self._guards:
            return None
        tools = [] if request.tool is None else to_tools([request.tool], CYGNAL.name)
        return (yield self._guards["tool_calls"].check(_up_to_call(request), tools))

    def _refused(self, request: ToolCallRequest, judgement: Judgement) -> ToolMessage:
        call = request.tool_call
        empty = ToolMessage("", tool_call_id=call["id"] or "", name=call["name"])
        return self._after(empty, judgement)

    def _result(
        self, request: ToolCallRequest, call_judgement: Judgement | None, result: ToolResult
    ) -> Steps[ToolResult]:
        before = _up_to_call(request)
        if isinstance(result, ToolMessage):
            return (yield from self._judged_result(before, call_judgement, result))
        update = result.update if isinstance(result, Command) else None
        if not isinstance(update, dict) or not isinstance(update.get("messages"), list):
            return result
        messages = []
        for message in update["messages"]:
            is_result = isinstance(message, ToolMessage)
            messages.append((yield from self._judged_result(before, call_judgement, message)) if is_result else message)
        return replace(result, update={**update, "messages": messages})

    def _judged_result(
        self, before: Sequence[Message], call_judgement: Judgement | None, result: ToolMessage
    ) -> Steps[ToolMessage]:
        returned = judged_messages([result])
        if call_judgement is not None and call_judgement.action == "warn":
            result = self._after(result, call_judgement)
        if "tool_results" in self._guards:
            # Last: its judgement is the one that is kept, and may end the run.
            judgement = yield self._guards["tool_results"].check([*before, *returned])
            result = self._after(result, judgement)
        return result

    # ------------------------------------------------------------------ answers

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Call the model and judge its answer."""
        with self._held():
            response = handler(request)
        with converted_errors():
            return settle(self._answer(request.messages, response))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Call the model and judge its answer."""
        with self._held():
            response = await handler(request)
        with converted_errors():
            return await asettle(self._answer(request.messages, response))

    def _answer(self, before: Sequence[BaseMessage], response: ModelResponse[Any]) -> Steps[ModelResponse[Any]]:
        answer = next((one for one in response.result if isinstance(one, AIMessage)), None)
        if "answers" not in self._guards or answer is None:
            return response
        structured = len(response.result) > 1
        (turn,) = judged_messages([answer])
        if says_nothing([replace(turn, tool_calls=())]) and not structured:
            # Only tool calls, which are judged before they run.
            return response
        judgement = yield self._guards["answers"].check([*judged_messages(before), turn])
        if self._raise_on_block:
            judgement.raise_if_blocked()
        kept = {**answer.response_metadata, JUDGEMENT_KEY: judgement.summary}
        if judgement.withholds:
            refusal = _refusal(judgement.notice, answer)
            refusal.response_metadata[JUDGEMENT_KEY] = judgement.summary
            return ModelResponse(result=[refusal], structured_response=None)
        update: dict[str, Any] = {"response_metadata": kept}
        if judgement.action == "warn":
            update["content"] = _with_warning(answer, judgement)
        judged = answer.model_copy(update=update)
        result = [judged if one is answer else one for one in response.result]
        return replace(response, result=result)

    def _held(self) -> AbstractContextManager[None]:
        return streams_held() if self._holds else nullcontext()


def _up_to_call(request: ToolCallRequest) -> list[Message]:
    """Return the conversation up to one call; of the model's turn, only its text and this call."""
    state = request.state
    messages = state.get("messages", []) if isinstance(state, dict) else getattr(state, "messages", [])
    last = next((place for place in reversed(range(len(messages))) if isinstance(messages[place], AIMessage)), 0)
    before = list(messages[:last])
    turn = judged_messages(messages[len(before) : len(before) + 1])
    call = request.tool_call
    (asked,) = judged_messages([AIMessage("", tool_calls=[call])])
    said = [part for part in turn[0].parts if isinstance(part, Text) and part.text] if turn else []
    calls = [ToolCall(call["id"], one.name, one.arguments) for one in asked.tool_calls]
    return [*judged_messages(before), Message("assistant", said, tool_calls=calls)]


def _with_warning(message: BaseMessage, judgement: Judgement) -> str | list[Any]:
    if isinstance(message.content, str):
        return judgement.warned(message.content)
    return [*message.content, {"type": "text", "text": judgement.warning}]


def _refusal(notice: str, answer: AIMessage | None = None) -> AIMessage:
    """Return the notice as a refusal; it replaces the given answer, if any."""
    refusal = to_ai_message(refusal_of(notice), CYGNAL.name)
    if answer is not None:
        refusal.id, refusal.name, refusal.usage_metadata = answer.id, answer.name, answer.usage_metadata
        kept = {name: answer.response_metadata[name] for name in _PAID if name in answer.response_metadata}
        refusal.response_metadata = {**refusal.response_metadata, **kept}
    return refusal
