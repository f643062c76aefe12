"""Answers of the Responses API by hand: items, whole responses, and the events of streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

USAGE = {
    "input_tokens": 5,
    "input_tokens_details": {"cached_tokens": 1},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 12,
}


def message(text: str, item_id: str = "msg_1", **fields: Any) -> dict[str, Any]:
    """A whole message."""
    part = {"type": "output_text", "text": text, "annotations": [], **fields}
    return {"type": "message", "id": item_id, "role": "assistant", "status": "completed", "content": [part]}


def refusal(text: str) -> dict[str, Any]:
    """A whole message that refuses."""
    return {**message(""), "content": [{"type": "refusal", "refusal": text}]}


def reasoning(text: str = "", summary: Iterable[str] = (), item_id: str = "rs_1", **fields: Any) -> dict[str, Any]:
    """A whole reasoning item."""
    content = [{"type": "reasoning_text", "text": text}] if text else []
    summaries = [{"type": "summary_text", "text": part} for part in summary]
    return {"type": "reasoning", "id": item_id, "summary": summaries, "content": content, **fields}


def call(arguments: Any, name: Any = "pay", call_id: Any = "call_a", item_id: str = "fc_1") -> dict[str, Any]:
    """A whole call."""
    return {"type": "function_call", "id": item_id, "call_id": call_id, "name": name, "arguments": arguments}


def response(*output: dict[str, Any], reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """A whole response; incomplete if there is a reason."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "served",
        "status": "completed" if reason is None else "incomplete",
        "error": None,
        "incomplete_details": None if reason is None else {"reason": reason},
        "output": list(output),
        "usage": USAGE,
        "tools": [],
        **fields,
    }


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """One event."""
    return {"type": f"response.{kind}", **fields}


def created() -> dict[str, Any]:
    """The first event."""
    return event("created", response=response(status="in_progress", usage=None))


def ended(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The last event, as vLLM calls it whatever the status."""
    return event("completed", response=response(*output, **fields))


_NAMES = {"message": "output_text", "reasoning": "reasoning_text", "function_call": "function_call_arguments"}


def said(item: dict[str, Any], *pieces: str, place: int = 0, done: bool = True) -> list[dict[str, Any]]:
    """The events of an item that comes in pieces."""
    where = {"output_index": place, "item_id": item["id"]}
    name = _NAMES[item["type"]]
    empty: dict[str, Any] = {"arguments": ""} if item["type"] == "function_call" else {"content": []}
    events = [event("output_item.added", output_index=place, item={**item, **empty, "status": "in_progress"})]
    events += [event(f"{name}.delta", **where, content_index=0, delta=piece) for piece in pieces]
    if not done:
        return events
    whole = "".join(pieces)
    key = "arguments" if item["type"] == "function_call" else "text"
    return [
        *events,
        event(f"{name}.done", **where, content_index=0, **{key: whole}),
        event("output_item.done", output_index=place, item=item),
    ]
