"""Decode Chat Completions answers, and the parts that whole answers and streams have in common."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Completion, TokenLogprob, ToolCall, Usage
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.call_ids import CallIds
from linkspan.providers.error_bodies import make_error, read_error, request_id_of
from linkspan.providers.failed import raise_if_failed
from linkspan.providers.unknown_fields import merge_levels
from linkspan.providers.wire import as_bytes, as_count, as_list, as_name, as_number, as_object, as_text, parse_json
from linkspan.tool_arguments import as_json_text, judge_calls, unwrap_json_string

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from linkspan.conversation import Message
    from linkspan.errors import LinkspanError

    #: Adds an API's hints to an error.
    Explain: TypeAlias = Callable[[LinkspanError], LinkspanError]

__all__ = [
    "calls_in",
    "decode_answer",
    "decode_chat",
    "decode_logprob_entries",
    "decode_logprobs",
    "decode_usage",
    "error_in",
    "read_content",
    "reasoning_of",
    "unexplained",
    "unknown_fields",
]

KNOWN_TOP = frozenset({"id", "object", "created", "model", "choices", "usage", "error"})
KNOWN_CHOICE = frozenset({"index", "message", "delta", "finish_reason", "logprobs"})
KNOWN_MESSAGE = frozenset(
    {"role", "content", "tool_calls", "function_call", "reasoning", "reasoning_content", "refusal", "name"}
)


def unexplained(error: LinkspanError) -> LinkspanError:
    """Return an error as it is: the default of ``explain``, for APIs without hints."""
    return error


def error_in(
    parsed: Any, provider: str, headers: Mapping[str, str], explain: Explain = unexplained
) -> LinkspanError | None:
    """Return the error in a parsed body or event under status 200, if it is one, with the API's hints."""
    if not isinstance(parsed, dict) or parsed.get("choices"):
        return None
    if (
        parsed.get("error")
        or parsed.get("object") == "error"
        or ("choices" not in parsed and ("detail" in parsed or "message" in parsed))
    ):
        return explain(make_error(provider, read_error(parsed), headers=headers))
    return None


def decode_chat(
    content: bytes,
    headers: Mapping[str, str],
    provider: str,
    conversation: Sequence[Message] = (),
    explain: Explain = unexplained,
) -> Completion:
    """Decode a whole answer; see :func:`decode_answer`.

    Each tool call gets an id that ``conversation``, the request's messages, does not have, and a ``problem`` if its
    arguments are broken.
    """
    decode_choice = partial(_decode_choice, provider=provider, conversation=conversation)
    return decode_answer(content, headers, provider, decode_choice, what="chat completion", explain=explain)


def decode_answer(
    content: bytes,
    headers: Mapping[str, str],
    provider: str,
    decode_choice: Callable[[Any], Completion],
    *,
    what: str,
    explain: Explain = unexplained,
) -> Completion:
    """Decode the frame around the choices of a whole answer, on the routes for chats and for prompts.

    ``what`` says in errors what the answer should be.

    Raises:
        InvalidResponseError: The answer has no choices, or one of them is malformed.
        ServerError: The finish reason says that the server aborted the answer.
        LinkspanError: The answer is an error under status 200.
    """
    parsed = parse_json(content, provider)
    error = error_in(parsed, provider, headers, explain)
    if error is not None:
        raise error
    choices = parsed.get("choices") if isinstance(parsed, dict) else None
    if not isinstance(choices, list) or not choices:
        keys = ", ".join(parsed) if isinstance(parsed, dict) else type(parsed).__name__
        raise InvalidResponseError(
            f"{provider}: the answer is not a {what}: choices are missing (it holds: {keys or 'nothing'}).",
            provider=provider,
            request_id=request_id_of(headers),
        )
    ordered = sorted(choices, key=_index_of) if len(choices) > 1 else choices
    answers = [decode_choice(choice) for choice in ordered]
    first = answers[0]
    first.alternatives = answers[1:]
    first.usage = decode_usage(parsed.get("usage"))
    first.id = as_name(parsed.get("id"), "id")
    first.model = as_name(parsed.get("model"), "model")
    first.request_id = request_id_of(headers)
    first.raw = parsed
    merge_levels(first.extra, unknown_fields(parsed, KNOWN_TOP))
    raise_if_failed(first, provider)
    return first


def _index_of(choice: Any) -> int:
    return as_count(as_object(choice, "a choice").get("index"), "index") or 0


def _decode_choice(choice: Any, provider: str, conversation: Sequence[Message]) -> Completion:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise InvalidResponseError(f"{provider}: a choice of the answer holds no message.", provider=provider)
    text, thought = read_content(message.get("content"), provider)
    finish_reason = as_name(choice.get("finish_reason"), "finish_reason")
    extra = unknown_fields(message, KNOWN_MESSAGE)
    merge_levels(extra, unknown_fields(choice, KNOWN_CHOICE))
    return Completion(
        text=text,
        reasoning=reasoning_of(message) or thought,
        tool_calls=_decode_tool_calls(calls_in(message), finish_reason, provider, conversation),
        refusal=as_text(message.get("refusal"), "refusal"),
        finish_reason=finish_reason,
        logprobs=decode_logprobs(choice.get("logprobs")),
        extra=extra,
    )


def read_content(content: Any, provider: str) -> tuple[str, str]:
    """Return text and reasoning of a message's content: a text, nothing, or a list of parts.

    Raises:
        InvalidResponseError: A part is neither text nor reasoning.
    """
    if content is None or isinstance(content, str):
        return content or "", ""
    text, reasoning = "", ""
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if kind == "text":
            text += as_text(part.get("text"), "the text of a part")
        elif kind == "thinking":
            thought = part.get("thinking")
            reasoning += thought if isinstance(thought, str) else read_content(thought, provider)[0]
        else:
            raise InvalidResponseError(
                f"{provider}: the answer holds a part of type {kind!r}, which is neither text nor reasoning.",
                provider=provider,
            )
    return text, reasoning


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Return the reasoning text: ``reasoning`` on current servers, ``reasoning_content`` on older ones, never both."""
    for field in ("reasoning", "reasoning_content"):
        value = message.get(field)
        if value and isinstance(value, str):
            return value
    return ""


def calls_in(message: Mapping[str, Any]) -> list[Any]:
    """Return the calls of a message, or the fragments of a delta.

    They are a list, the single object of early TGI versions, or ``function_call``, OpenAI's form before it had tools.
    """
    calls = message.get("tool_calls")
    if not calls:
        function = message.get("function_call")
        return [{"index": 0, "function": function}] if function else []
    return [calls] if isinstance(calls, dict) else as_list(calls, "tool_calls")


def _decode_tool_calls(
    calls: Sequence[Any], finish_reason: str | None, provider: str, conversation: Sequence[Message]
) -> list[ToolCall]:
    if not calls:
        return []
    ids = CallIds(conversation)
    decoded = [_decode_tool_call(call, ids, provider) for call in calls if call is not None]
    judge_calls(decoded, finish_reason)
    return decoded


def _decode_tool_call(call: Any, ids: CallIds, provider: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not function.get("name"):
        raise InvalidResponseError(f"{provider}: a tool call of the answer names no function.", provider=provider)
    name = as_text(function.get("name"), "the name of a tool call")
    arguments = unwrap_json_string(as_json_text(function.get("arguments")))
    return ToolCall(ids.claim(call.get("id")), name, arguments)


def decode_usage(usage: Any, given: str = "prompt_tokens", made: str = "completion_tokens") -> Usage | None:
    """Decode token counts; missing counts stay ``None``. ``given`` and ``made`` are the API's names for the two."""
    if usage is None:
        return None
    usage = as_object(usage, "usage")
    return Usage(
        input_tokens=as_count(usage.get(given), f"usage.{given}"),
        output_tokens=as_count(usage.get(made), f"usage.{made}"),
        total_tokens=as_count(usage.get("total_tokens"), "usage.total_tokens"),
        cached_tokens=_detail(usage, f"{given}_details", "cached_tokens"),
        reasoning_tokens=_detail(usage, f"{made}_details", "reasoning_tokens"),
        raw=usage,
    )


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int | None:
    return as_count(as_object(usage.get(group), f"usage.{group}").get(name), f"usage.{group}.{name}")


def decode_logprobs(logprobs: Any) -> list[TokenLogprob] | None:
    """Decode the ``content`` list of a choice's log probabilities."""
    return decode_logprob_entries(as_object(logprobs, "logprobs").get("content"))


def decode_logprob_entries(entries: Any) -> list[TokenLogprob] | None:
    """Decode a list of log probabilities, one entry per token."""
    return [_decode_logprob(entry) for entry in as_list(entries, "logprobs.content")] or None


def _decode_logprob(entry: Any) -> TokenLogprob:
    fields = as_object(entry, "an entry of logprobs")
    top = fields.get("top_logprobs")
    return TokenLogprob(
        token=as_text(fields.get("token"), "logprobs.token"),
        logprob=as_number(fields.get("logprob"), "logprobs.logprob"),
        bytes=as_bytes(fields.get("bytes"), "logprobs.bytes"),
        top=[_decode_logprob(other) for other in as_list(top, "top_logprobs")] if top else (),
    )


def unknown_fields(parsed: Mapping[str, Any], known: frozenset[str]) -> dict[str, Any]:
    """Return the fields that linkspan does not model, without nulls."""
    if known.issuperset(parsed):
        return {}
    return {key: value for key, value in parsed.items() if key not in known and value is not None}
