"""Decode requests of the Responses API into equivalent chat requests.

Stateless, with function tools only, as Scaleway documents it. Where the service's behaviour is unknown, the sandbox is
strict: undocumented fields are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from linkspan_sandbox import chat_completions as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FIELDS", "chat_body"]

#: The fields of a request.
FIELDS = frozenset(
    {
        *("include", "input", "instructions", "max_output_tokens", "metadata", "model", "parallel_tool_calls"),
        *("reasoning", "service_tier", "store", "stream", "temperature", "text", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "truncation", "user"),
    }
)
_SAME = ("model", "parallel_tool_calls", "stream", "temperature", "top_logprobs", "top_p")
_LOGPROBS = "message.output_text.logprobs"


def chat_body(body: Any) -> dict[str, Any]:
    """Return a Responses body as a Chat Completions body.

    Raises:
        RequestError: The body is invalid, or uses a feature that the service does not have.
    """
    if not isinstance(body, Mapping):
        raise wire.RequestError("the body must be a JSON object")
    unknown = next((name for name in body if name not in FIELDS), None)
    if unknown is not None:
        raise wire.RequestError(f"{unknown}: Extra inputs are not permitted", field=unknown)
    made: dict[str, Any] = {name: body[name] for name in _SAME if body.get(name) is not None}
    made["messages"] = list(_messages(body))
    if body.get("max_output_tokens") is not None:
        made["max_completion_tokens"] = body["max_output_tokens"]
    effort = _object(body, "reasoning").get("effort")
    if effort is not None:
        made["reasoning_effort"] = effort
    if _LOGPROBS in _list(body, "include"):
        made["logprobs"] = True
    if _list(body, "tools"):
        made["tools"] = [_nested_tool(tool, place) for place, tool in enumerate(body["tools"])]
    choice = body.get("tool_choice")
    if choice is not None and (made.get("tools") or choice != "auto"):
        named = isinstance(choice, Mapping)
        made["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}} if named else choice
    wanted = _object(body, "text").get("format")
    if isinstance(wanted, Mapping):
        inner = {name: value for name, value in wanted.items() if name != "type"}
        made["response_format"] = {"type": wanted.get("type"), **({"json_schema": inner} if inner else {})}
    return made


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name) or {}
    if not isinstance(value, Mapping):
        raise wire.RequestError(f"{name}: Input should be an object", field=name)
    return value


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name) or []
    if not isinstance(value, list):
        raise wire.RequestError(f"{name}: Input should be a valid list", field=name)
    return value


def _nested_tool(tool: Any, place: int) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or tool.get("type") != "function":
        raise wire.RequestError(f"tools[{place}]: only tools of type 'function' are supported", field="tools")
    return {"type": "function", "function": {name: value for name, value in tool.items() if name != "type"}}


def _messages(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(body.get("instructions"), str):
        yield {"role": "system", "content": body["instructions"]}
    items = body.get("input")
    if isinstance(items, str):
        yield {"role": "user", "content": items}
        return
    if not isinstance(items, list):
        raise wire.RequestError("input: Input should be a valid string or list", field="input")
    turn: dict[str, Any] | None = None
    for place, item in enumerate(items):
        kind = item.get("type", "message") if isinstance(item, Mapping) else None
        if kind in ("reasoning", "function_call") or (kind == "message" and item.get("role") == "assistant"):
            # Consecutive reasoning, text and calls are one assistant turn.
            if turn is None or (kind == "message" and turn["content"]):
                if turn is not None:
                    yield turn
                turn = {"role": "assistant", "content": None}
            _add_to_turn(turn, kind, item, place)
            continue
        if turn is not None:
            yield turn
            turn = None
        yield _message(kind, item, place)
    if turn is not None:
        yield turn


def _add_to_turn(turn: dict[str, Any], kind: str, item: Mapping[str, Any], place: int) -> None:
    if kind == "reasoning":
        if not isinstance(item.get("id"), str) or not isinstance(item.get("summary"), list):
            raise wire.RequestError(f"input[{place}]: a reasoning item needs an id and a summary", field="input")
        turn["reasoning"] = "".join(_reasoning_text(part, place) for part in _list(item, "content"))
    elif kind == "message":
        turn["content"] = _content(item, place, "output_text")
    else:
        function = {"name": item.get("name"), "arguments": item.get("arguments")}
        if not all(isinstance(value, str) for value in (item.get("call_id"), *function.values())):
            raise wire.RequestError(f"input[{place}]: call_id, name and arguments must be text", field="input")
        call = {"id": item["call_id"], "type": "function", "function": function}
        turn.setdefault("tool_calls", []).append(call)


def _reasoning_text(part: Any, place: int) -> str:
    text = part.get("text") if isinstance(part, Mapping) else None
    if not isinstance(text, str):
        raise wire.RequestError(f"input[{place}].content: each part needs a text", field="input")
    return text


def _message(kind: Any, item: Any, place: int) -> dict[str, Any]:
    if kind == "function_call_output":
        if not isinstance(item.get("output"), str):
            raise wire.RequestError(f"input[{place}].output: Input should be a valid string", field="input")
        return {"role": "tool", "tool_call_id": item.get("call_id"), "content": item["output"]}
    if kind != "message":
        raise wire.RequestError(f"input[{place}]: {kind!r} is no item that is supported", field="input")
    if "name" in item:
        raise wire.RequestError(f"input[{place}].name: Extra inputs are not permitted", field="input")
    return {"role": item.get("role"), "content": _content(item, place, "input_text")}


def _content(item: Mapping[str, Any], place: int, text_type: str) -> Any:
    content = item.get("content")
    if not isinstance(content, list):
        return content
    parts: list[dict[str, Any]] = []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == text_type:
            parts.append({"type": "text", "text": part.get("text")})
        elif kind == "input_image" and text_type == "input_text":
            if part.get("detail") not in ("low", "high", "auto"):
                raise wire.RequestError(f"input[{place}]: detail must be low, high or auto", field="input")
            parts.append({"type": "image_url", "image_url": {"url": part.get("image_url")}})
        else:
            raise wire.RequestError(f"input[{place}]: a part of type {kind!r} is not supported", field="input")
    return parts
