"""Encode a conversation as a Responses body: the whole history as input items, nothing stored by the server.

Items have the simplest form that servers accept. Assistant items name their type, because llama.cpp needs it to
tell items apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.call_history import answered_call, object_text
from linkspan.conversation import Image, NamedTool, Reasoning, Text
from linkspan.errors import UnsupportedContentError
from linkspan.providers.chat_completions.encode import prepare, unsupported_part, unsupported_role, url_of
from linkspan.providers.data_role import carry_data
from linkspan.providers.idle_demands import without_idle_demands
from linkspan.providers.tool_names import wire_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from linkspan.conversation import ChatRequest, Message, Part, ResponseFormat, Tool, ToolChoice
    from linkspan.providers.chat_completions import Dialect

__all__ = ["encode_response_request", "output_limit", "refused_parameter"]

#: linkspan's names of parameters, and the API's.
_RENAMED: Mapping[str, str] = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
#: Parameters that the API documents, without those for stored answers: nothing is stored.
_DOCUMENTED = frozenset(
    {
        "include",
        "max_output_tokens",
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "temperature",
        "text",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
#: Parameters with another position in the body.
_MOVED = frozenset({"logprobs", "reasoning_effort"})
#: Fields with several settings, some of which are set by parameters.
_SHARED = frozenset({"include", "reasoning", "text"})
_LOGPROBS = "message.output_text.logprobs"


def refused_parameter(names: Mapping[str, Any]) -> str | None:
    """Return an error text for the first parameter that the API does not have; ``None`` if it has all."""
    for name in without_idle_demands(names):
        if name not in _DOCUMENTED and name not in _RENAMED and name not in _MOVED:
            return (
                f'the Responses API has no parameter {name!r}: leave it out, choose api="chat", or put it into '
                "extra_body to send it anyway."
            )
    return None


def encode_response_request(request: ChatRequest, dialect: Dialect, *, stream: bool) -> dict[str, Any]:
    """Encode the body, without stop texts, which the API lacks.

    Raises:
        UnsupportedContentError: The API does not have a parameter, or cannot carry a role or part.
    """
    refused = refused_parameter(request.parameters)
    if refused is not None:
        raise UnsupportedContentError(f"{dialect.provider}: {refused}", provider=dialect.provider)
    request = prepare(request)
    messages = carry_data(request, has_role=False)
    body: dict[str, Any] = {}
    if request.model is not None:
        body["model"] = request.model
    items = (
        item
        for place, message in enumerate(messages)
        for item in _items(message, dialect, place, send_reasoning=request.send_reasoning)
    )
    body["input"] = list(items)
    body["store"] = False
    _put_parameters(body, request.parameters)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _tool_choice(request.tool_choice)
    if request.response_format is not None:
        body["text"] = {**body.get("text", {}), "format": _format(request.response_format)}
    if stream:
        body["stream"] = True
    for name, value in request.extra_body.items():
        body[name] = _merged_field(body.get(name), value) if name in _SHARED else value
    return body


def output_limit(request: ChatRequest) -> int | None:
    """Return a request's limit of generated tokens; ``None`` if it has none."""
    sent = {**request.parameters, **request.extra_body}
    limits = (sent.get(name) for name in ("max_output_tokens", *_RENAMED))
    return next((limit for limit in limits if type(limit) is int), None)


def _merged_field(own: Any, given: Any) -> Any:
    """Merge a field of the extra body over what the parameters set in it."""
    if isinstance(own, dict) and isinstance(given, dict):
        return {**own, **given}
    if isinstance(own, list) and isinstance(given, (list, tuple)):
        return [*own, *(item for item in given if item not in own)]
    return given


def _put_parameters(body: dict[str, Any], parameters: Mapping[str, Any]) -> None:
    given = without_idle_demands(parameters, has_tools=True)
    effort = given.pop("reasoning_effort", None)
    if effort is not None:
        given["reasoning"] = {**given.get("reasoning", {}), "effort": effort}
    if given.pop("logprobs", None) or "top_logprobs" in given:
        given["include"] = [*given.get("include", ()), _LOGPROBS]
    for name, value in given.items():
        body[_RENAMED.get(name, name)] = value


# --------------------------------------------------------------------------- items


def _items(message: Message, dialect: Dialect, place: int, *, send_reasoning: bool) -> Iterator[dict[str, Any]]:
    """Yield the items of one turn; an assistant's reasoning, text and calls are separate items."""
    if message.role not in dialect.roles:
        raise unsupported_role(message, dialect, place)
    if message.role == "tool":
        yield {
            "type": "function_call_output",
            "call_id": answered_call(message, place, dialect.provider),
            "output": message.marked_if_failed(_text_of(message.parts, message, dialect, place)),
        }
    elif message.role == "assistant":
        yield from _assistant_items(message, dialect, place, send_reasoning=send_reasoning)
    else:
        if message.name is not None:
            raise UnsupportedContentError(
                f"The Responses API has no field for the name of a speaker ({message.name!r}, {message.role} message "
                f'{place}): write it into the text, or choose api="chat".',
                provider=dialect.provider,
            )
        yield {"role": message.role, "content": _content(message, dialect, place)}


def _assistant_items(
    message: Message, dialect: Dialect, place: int, *, send_reasoning: bool
) -> Iterator[dict[str, Any]]:
    if send_reasoning:
        thoughts = [part for part in message.parts if isinstance(part, Reasoning)]
        forms = [form for part in thoughts for form in _reasoning_forms(part)]
        for number, form in enumerate(forms):
            yield {"type": "reasoning", "id": f"rs_{place}_{number}", "summary": [], **form}
    text = _text_of([part for part in message.parts if not isinstance(part, Reasoning)], message, dialect, place)
    if text or not message.tool_calls:
        yield {"type": "message", "role": "assistant", "content": text}
    for call in message.tool_calls:
        yield {
            "type": "function_call",
            "call_id": call.id,
            "name": call.name,
            "arguments": object_text(call.arguments),
        }


def _reasoning_forms(part: Reasoning) -> Iterator[dict[str, Any]]:
    """Yield the items of a reasoning part: its text goes with the first encrypted form."""
    text = {"content": [{"type": "reasoning_text", "text": part.text}]} if part.text else {}
    if part.text and not part.encrypted:
        yield text
    for number, encrypted in enumerate(part.encrypted):
        yield {"encrypted_content": encrypted, **({} if number else text)}


def _text_of(parts: Sequence[Part], message: Message, dialect: Dialect, place: int) -> str:
    """Return the text of a turn that can hold only text, joined by line breaks."""
    return "\n".join(_checked(part, (), message, dialect, place)["text"] for part in parts)


def _content(message: Message, dialect: Dialect, place: int) -> str | list[dict[str, Any]]:
    allowed = dialect.user_parts if message.role == "user" else ()
    parts = [_checked(part, allowed, message, dialect, place) for part in message.parts]
    if not parts:
        return ""
    return parts[0]["text"] if len(parts) == 1 and "text" in parts[0] else parts


def _checked(part: Part, allowed: tuple[type, ...], message: Message, dialect: Dialect, place: int) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if dialect.check_part is not None:
        dialect.check_part(part)
    if isinstance(part, Image) and isinstance(part, allowed):
        # Servers require "detail".
        return {"type": "input_image", "image_url": url_of(part), "detail": part.detail or "auto"}
    raise unsupported_part(part, message, dialect, place)


# --------------------------------------------------------------------------- tools and formats


def _tool(tool: Tool) -> dict[str, Any]:
    written = {"type": "function", **tool.as_function()}
    if tool.strict is not None:
        written["strict"] = tool.strict
    return written


def _tool_choice(choice: ToolChoice) -> Any:
    return {"type": "function", "name": choice.name} if isinstance(choice, NamedTool) else choice


def _format(wanted: ResponseFormat) -> dict[str, Any]:
    if wanted.kind != "json_schema":
        return {"type": wanted.kind}
    written: dict[str, Any] = {
        "type": "json_schema",
        "name": wire_name(wanted.name or "answer"),
        "schema": dict(wanted.schema or {}),
    }
    if wanted.strict is not None:
        written["strict"] = wanted.strict
    if wanted.description is not None:
        written["description"] = wanted.description
    return written
