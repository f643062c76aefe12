"""Encode answers of the Responses API as vLLM does: whole, or as events."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Delta
from linkspan_sandbox import chat_completions as wire
from linkspan_sandbox.engine import EngineError, Piece, RawEvent
from linkspan_sandbox.responses import compact_json, json_response
from linkspan_sandbox.scaleway_responses_requests import FIELDS

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence

    from starlette.responses import Response

    from linkspan.conversation import TokenLogprob, Usage

__all__ = ["ResponseWriter"]


class ResponseWriter:
    """Encodes one answer as vLLM does: whole, or as events."""

    def __init__(self, body: Mapping[str, Any], model: str, error_body: Callable[[int, str], Any]) -> None:
        self._body = body
        self._model = model
        self._error_body = error_body
        self._id = wire.new_id("resp")
        self._created = int(time.time())

    def completion(self, answer: wire.Answer, headers: Mapping[str, str]) -> Response:
        """The whole answer."""
        items = []
        if answer.reasoning:
            items.append(_Item("reasoning", answer.reasoning))
        if answer.text:
            items.append(_Item("message", answer.text, logprobs=answer.logprobs))
        for call in answer.tool_calls:
            function = call["function"]
            items.append(_Item("function_call", function["arguments"], function["name"], call["id"]))
        body = self._response(
            [item.whole() for item in items], answer.finish_reason, answer.usage, answer.model or self._model
        )
        return json_response(body, headers=headers)

    async def events(self, pieces: AsyncGenerator[Piece, None]) -> AsyncGenerator[bytes, None]:
        """Yield the events of a stream."""
        writer = _EventWriter()
        usage, model = None, self._model
        finish: str | None = None
        opened = False
        try:
            async for piece in pieces:
                if isinstance(piece, RawEvent):
                    yield f"data: {piece.data}\n\n".encode()
                elif isinstance(piece, Delta):
                    model = piece.model or model
                    if not opened:
                        opened = True
                        started = self._response([], None, None, model)
                        yield writer.event("response.created", response=started)
                        yield writer.event("response.in_progress", response=started)
                    usage = piece.usage or usage
                    finish = piece.finish_reason or finish
                    for event in writer.of(piece):
                        yield event
        except EngineError as error:
            error_body = self._error_body(error.status, error.message)["error"]
            yield writer.event("error", code=error_body["type"], message=error_body["message"], param=None)
            return
        finally:
            await pieces.aclose()
        if finish is None:
            return
        for event in writer.end_item():
            yield event
        # vLLM names the event "completed" even if the response is not.
        yield writer.event("response.completed", response=self._response(writer.output, finish, usage, model))

    def _response(
        self, output: list[dict[str, Any]], finish: str | None, usage: Usage | None, model: str
    ) -> dict[str, Any]:
        reason = {"stop": None, "tool_calls": None, "length": "max_output_tokens"}.get(finish or "stop", finish)
        status = "in_progress" if finish is None else "completed" if reason is None else "incomplete"
        echoed = {name: self._body.get(name) for name in sorted(FIELDS - {"input", "include", "stream", "store"})}
        return {
            **echoed,
            "id": self._id,
            "object": "response",
            "created_at": self._created,
            "model": model,
            "status": status,
            "error": None,
            "incomplete_details": None if reason is None else {"reason": reason},
            "output": output,
            "usage": None if usage is None else _usage(usage),
            "parallel_tool_calls": self._body.get("parallel_tool_calls", True),
            "tool_choice": self._body.get("tool_choice") or "auto",
            "tools": self._body.get("tools") or [],
            "background": False,
            "previous_response_id": None,
        }


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": usage.total_tokens,
    }


class _Item:
    """One item of the output, written so far."""

    prefixes: Mapping[str, str] = {"reasoning": "rs", "message": "msg", "function_call": "fc"}

    def __init__(
        self,
        kind: str,
        text: str = "",
        name: str | None = None,
        call_id: str | None = None,
        logprobs: Sequence[TokenLogprob] = (),
    ) -> None:
        self.kind = kind
        self.text = text
        self.name = name
        self.call_id = call_id
        self.logprobs = list(logprobs)
        self.id = wire.new_id(self.prefixes[kind]).replace("-", "_")

    def head(self) -> dict[str, Any]:
        """Return the item before it has content."""
        return {**self._written([]), "status": "in_progress"}

    def whole(self) -> dict[str, Any]:
        """Return the item with all its content."""
        return self._written([self.part(self.text, self.logprobs)])

    def part(self, text: str, logprobs: Sequence[TokenLogprob] = ()) -> dict[str, Any]:
        """Return a part of its content."""
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": _logprobs(logprobs)}

    def _written(self, content: list[dict[str, Any]]) -> dict[str, Any]:
        head = {"id": self.id, "type": self.kind}
        if self.kind == "function_call":
            arguments = self.text if content else ""
            return {
                **head,
                "call_id": self.call_id,
                "name": self.name,
                "arguments": arguments,
                "status": "completed",
            }
        if self.kind == "reasoning":
            return {**head, "summary": [], "content": content, "encrypted_content": None, "status": "completed"}
        return {**head, "role": "assistant", "content": content, "status": "completed"}


class _EventWriter:
    """Encodes the pieces of an answer as events, and collects its output."""

    _texts: Mapping[str, str] = {
        "reasoning": "response.reasoning_text",
        "message": "response.output_text",
        "function_call": "response.function_call_arguments",
    }

    def __init__(self) -> None:
        self.output: list[dict[str, Any]] = []
        self._item: _Item | None = None
        self._call: int | None = None
        self._number = 0

    def event(self, kind: str, **fields: Any) -> bytes:
        """One event."""
        body = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return f"event: {kind}\ndata: {compact_json(body)}\n\n".encode()

    def of(self, piece: Delta) -> Iterator[bytes]:
        """Return the events of a piece."""
        if piece.reasoning:
            yield from self._say("reasoning", piece.reasoning)
        if piece.text:
            yield from self._say("message", piece.text, piece.logprobs or ())
        for call in piece.tool_calls:
            if call.index != self._call or self._item is None:
                self._call = call.index
                yield from self._begin(_Item("function_call", "", call.name, call.id))
            if call.arguments:
                yield from self._say("function_call", call.arguments)

    def end_item(self) -> Iterator[bytes]:
        """Return the events that end the item."""
        item, self._item = self._item, None
        if item is None:
            return
        place = {"output_index": len(self.output), "item_id": item.id}
        if item.kind == "function_call":
            yield self.event(f"{self._texts[item.kind]}.done", **place, name=item.name, arguments=item.text)
        else:
            final: dict[str, Any] = {"text": item.text}
            if item.kind == "message":
                final["logprobs"] = _logprobs(item.logprobs)
            yield self.event(f"{self._texts[item.kind]}.done", **place, content_index=0, **final)
            part = item.part(item.text, item.logprobs)
            yield self.event("response.content_part.done", **place, content_index=0, part=part)
        yield self.event("response.output_item.done", output_index=len(self.output), item=item.whole())
        self.output.append(item.whole())

    def _begin(self, item: _Item) -> Iterator[bytes]:
        yield from self.end_item()
        self._item = item
        place = {"output_index": len(self.output)}
        yield self.event("response.output_item.added", **place, item=item.head())
        if item.kind != "function_call":
            part = item.part("")
            yield self.event("response.content_part.added", **place, item_id=item.id, content_index=0, part=part)

    def _say(self, kind: str, text: str, logprobs: Sequence[TokenLogprob] = ()) -> Iterator[bytes]:
        if self._item is None or self._item.kind != kind:
            yield from self._begin(_Item(kind))
        item = self._item
        if item is None:
            return
        item.text += text
        item.logprobs.extend(logprobs)
        fields: dict[str, Any] = {"output_index": len(self.output), "item_id": item.id}
        if kind != "function_call":
            fields["content_index"] = 0
        if kind == "message":
            fields["logprobs"] = _logprobs(logprobs)
        yield self.event(f"{self._texts[kind]}.delta", **fields, delta=text)


def _logprobs(logprobs: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Return the log probabilities of a text."""
    entries: list[dict[str, Any]] = wire.logprobs_json(logprobs)["content"]
    return entries
