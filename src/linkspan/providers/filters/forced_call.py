"""Emulate JSON schemas by a required tool call, whose arguments become the answer."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta, NamedTool, Tool, ToolCall
from linkspan.errors import UnsupportedContentError
from linkspan.json_schema import standing_alone
from linkspan.providers.codec import StreamDecoder, WrappedCodec, WrappedDecoder
from linkspan.providers.tool_names import wire_name
from linkspan.tool_arguments import judge_calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import ChatRequest, Completion, ToolCallDelta
    from linkspan.providers.codec import Codec

__all__ = ["ForcedCallCodec"]

#: The key in an answer's ``extra`` of text beside the forced call.
_TEXT_BESIDE_CALL = "text_beside_call"

#: The argument for answers that are not objects, because a call's arguments are an object.
_ONLY = "answer"


class ForcedCallCodec(WrappedCodec["ChatRequest"]):
    """Sends a JSON schema as a required tool, and returns the arguments of its call as the text.

    Calls of other names, and further ones of the same name, remain calls. Text beside the call moves to ``extra``.
    """

    def __init__(self, inner: Codec[ChatRequest], title: str) -> None:
        super().__init__(inner)
        self._title = title

    def path(self, request: ChatRequest, *, stream: bool) -> str:
        """Return the route below the base URL."""
        return self.inner.path(request, stream=stream)

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            UnsupportedContentError: There are tools beside a schema.
        """
        return self.inner.encode(self._sent(request), stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer."""
        sent = self._sent(request)
        completion = self.inner.decode(body, headers, sent)
        if sent is request:
            return completion
        return _answer_of_call(completion, sent.tools[0].name, is_wrapped=_is_wrapped(request))

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        sent = self._sent(request)
        decoder = self.inner.stream_decoder(sent, headers)
        if sent is request:
            return decoder
        return _ForcedCallDecoder(decoder, sent.tools[0].name, is_wrapped=_is_wrapped(request))

    def _sent(self, request: ChatRequest) -> ChatRequest:
        return _as_forced_call(request, self._title)


def _as_forced_call(request: ChatRequest, title: str) -> ChatRequest:
    """Return the request with one required tool instead of a schema."""
    wanted = request.response_format
    if wanted is None or wanted.kind != "json_schema":
        return request
    if request.tools:
        raise UnsupportedContentError(
            f"{title} returns an object by a required tool call, which leaves no room for other tools: call without "
            "them, or pass the object's schema as another tool."
        )
    schema = standing_alone(wanted.schema or {})
    description = schema.get("description") if wanted.description is None else wanted.description
    tool = Tool(
        wire_name(wanted.name or "answer"),
        description,
        schema if _is_object(schema) else {"type": "object", "properties": {_ONLY: schema}, "required": [_ONLY]},
        wanted.strict,
    )
    return replace(request, response_format=None, tools=[tool], tool_choice=NamedTool(tool.name))


def _answer_of_call(completion: Completion, name: str, *, is_wrapped: bool) -> Completion:
    for answer in (completion, *completion.alternatives):
        forced = next((call for call in answer.tool_calls if call.name == name), None)
        if forced is not None:
            if answer.text.strip():
                answer.extra[_TEXT_BESIDE_CALL] = answer.text
            answer.text = _unwrapped(forced.arguments) if is_wrapped else forced.arguments
            answer.tool_calls = [call for call in answer.tool_calls if call is not forced]
        answer.finish_reason = _finish_reason(answer.finish_reason, calls=bool(answer.tool_calls))
    return completion


class _Choice:
    """State of one choice.

    Attributes:
        index: The index of the forced call.
        pieces: Its arguments so far.
        text: Text beside calls, held back because a call may follow.
        calls: Whether there are other calls.
        finish_reason: The server's finish reason.
    """

    __slots__ = ("calls", "finish_reason", "index", "pieces", "text")

    def __init__(self) -> None:
        self.index: int | None = None
        self.pieces: list[str] = []
        self.text = ""
        self.calls = False
        self.finish_reason: str | None = None

    def take(self, calls: Sequence[ToolCallDelta], name: str) -> tuple[str, Sequence[ToolCallDelta]]:
        """Return the next piece of the forced call's arguments, and the pieces of other calls."""
        piece, others = "", []
        for call in calls:
            if self.index is None and call.name == name:
                self.index = call.index
            if call.index == self.index:
                piece += call.arguments
            else:
                others.append(call)
        self.pieces.append(piece)
        self.calls = self.calls or bool(others)
        return piece, others

    def rest(self, *, is_wrapped: bool) -> str:
        """Return what is still to be yielded at the end."""
        if self.index is None:
            return self.text
        call = ToolCall(None, "", "".join(self.pieces))
        has_arguments = bool(call.arguments.strip())
        judge_calls([call], self.finish_reason)
        if is_wrapped:
            return _unwrapped(call.arguments)
        return "" if has_arguments else call.arguments


class _ForcedCallDecoder(WrappedDecoder[StreamDecoder]):
    """Yields the arguments of a streamed call as text: as they arrive, or at the end if the answer is not an object.

    Text waits for the end, because a call may follow. ``is_wrapped``: the answer is an argument of the call.
    """

    __slots__ = ("_choices", "_is_wrapped", "_name")

    def __init__(self, inner: StreamDecoder, name: str, *, is_wrapped: bool) -> None:
        super().__init__(inner)
        self._name = name
        self._is_wrapped = is_wrapped
        self._choices: defaultdict[int, _Choice] = defaultdict(_Choice)

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        return self._as_text(self._inner.feed(data))

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The answer is incomplete.
        """
        *deltas, last = self._as_text(self._inner.close())
        for number, choice in sorted(self._choices.items()):
            closing = Delta(id=last.id, choice=number) if number else last
            closing.text += choice.rest(is_wrapped=self._is_wrapped)
            if choice.index is not None and choice.text.strip():
                closing.extra = {**(closing.extra or {}), _TEXT_BESIDE_CALL: choice.text}
            if number and (closing.text or closing.extra):
                deltas.append(closing)
        return [*deltas, last]

    def _as_text(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        for delta in deltas:
            choice = self._choices[delta.choice]
            if delta.text:
                choice.text += delta.text
                delta.text = ""
            if delta.tool_calls:
                piece, delta.tool_calls = choice.take(delta.tool_calls, self._name)
                delta.text = "" if self._is_wrapped else piece
            if delta.finish_reason is not None:
                choice.finish_reason = delta.finish_reason
                delta.finish_reason = _finish_reason(delta.finish_reason, calls=choice.calls)
        return deltas


def _is_object(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "object" or (schema.get("type") is None and "properties" in schema)


def _is_wrapped(request: ChatRequest) -> bool:
    wanted = request.response_format
    return wanted is not None and not _is_object(standing_alone(wanted.schema or {}))


def _unwrapped(arguments: str) -> str:
    """Return the JSON text of the answer; incomplete JSON is returned unchanged, for its reader to judge."""
    try:
        found = json.loads(arguments)
    except ValueError:
        return arguments
    whole = isinstance(found, dict) and found.keys() == {_ONLY}
    return json.dumps(found[_ONLY], ensure_ascii=False) if whole else arguments


def _finish_reason(said: str | None, *, calls: bool) -> str | None:
    # The caller requested an object, not a call, so the finish reason must not say so.
    return "stop" if said == "tool_calls" and not calls else said
