"""Emulate JSON schemas by a required tool call, whose arguments become the answer."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import NamedTool, Tool
from linkspan.errors import UnsupportedContentError
from linkspan.json_schema import standing_alone
from linkspan.providers.codec import StreamDecoder, WrappedDecoder
from linkspan.providers.tool_names import wire_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import ChatRequest, Completion, Delta

__all__ = ["ForcedCallDecoder", "answer_of_call", "as_forced_call", "wants_schema"]

#: The argument for answers that are not objects, because a call's arguments are an object.
_ONLY = "answer"


def wants_schema(request: ChatRequest) -> bool:
    """Whether a request has a response format with a JSON schema."""
    return request.response_format is not None and request.response_format.kind == "json_schema"


def as_forced_call(request: ChatRequest, title: str) -> ChatRequest:
    """Replace the request's response format by one required tool.

    Args:
        request: A request with a schema.
        title: The API's name for people.

    Raises:
        UnsupportedContentError: The request has tools.
    """
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


def answer_of_call(completion: Completion, request: ChatRequest) -> Completion:
    """Replace the text of an answer and its alternatives by the call's arguments, and return it."""
    wrapped = _is_wrapped(request)
    for answer in (completion, *completion.alternatives):
        if answer.tool_calls:
            arguments = answer.tool_calls[0].arguments
            answer.text = _unwrapped(arguments) if wrapped else arguments
            answer.tool_calls = []
        answer.finish_reason = _finish_reason(answer.finish_reason)
    return completion


class ForcedCallDecoder(WrappedDecoder[StreamDecoder]):
    """Yields the arguments of a streamed call as text: as they arrive, or at the end if the answer is not an object.

    Args:
        inner: Decodes the stream.
        request: The caller's request.
    """

    __slots__ = ("_held", "_wrapped")

    def __init__(self, inner: StreamDecoder, request: ChatRequest) -> None:
        super().__init__(inner)
        self._wrapped = _is_wrapped(request)
        #: Text that is held back until it is whole, by choice.
        self._held: dict[int, str] = {}

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Process the data of one event."""
        return self._as_text(self._inner.feed(data))

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream.

        Raises:
            InterruptedStreamError: The answer is incomplete.
        """
        return self._as_text(self._inner.close())

    def _as_text(self, deltas: Sequence[Delta]) -> Sequence[Delta]:
        for delta in deltas:
            if delta.tool_calls:
                pieces = "".join(call.arguments for call in delta.tool_calls if call.index == 0)
                delta.tool_calls = ()
                if self._wrapped:
                    self._held[delta.choice] = self._held.get(delta.choice, "") + pieces
                else:
                    delta.text += pieces
            if delta.finish_reason is not None:
                delta.finish_reason = _finish_reason(delta.finish_reason)
                if delta.choice in self._held:
                    delta.text += _unwrapped(self._held.pop(delta.choice))
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


def _finish_reason(said: str | None) -> str | None:
    # The caller requested an object, not a call, so the finish reason must not say so.
    return "stop" if said == "tool_calls" else said
