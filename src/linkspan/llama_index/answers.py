"""Convert answers and stream steps to LlamaIndex responses, with every value where LlamaIndex's own code expects it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from linkspan.assembler import Assembler
from linkspan.conversation import ENCRYPTED_REASONING
from linkspan.llama_index.partial_answers import PartialChatResponse, PartialReader
from linkspan.prototype import Prototype
from linkspan.tool_arguments import parse_arguments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.conversation import Completion, Delta, TokenLogprob, ToolCall

__all__ = ["ResponseBuilder", "alternative_texts", "as_chat_response", "chat_response", "completion_response"]

#: Further fields of prompt APIs' answers, under the APIs' names. They are set for whole answers and streams alike,
#: while ``raw`` has the API's own nesting.
_SAID_OF_ANSWERS = ("generated_tokens", "seed", "input_length", "prefill", "best_of_sequences", "top_tokens")


def chat_response(completion: Completion) -> ChatResponse:
    """Return a whole answer as a ``ChatResponse``."""
    return _CHAT_CHUNK.with_fields(
        {
            "message": _finished_message(completion),
            "raw": _raw(completion),
            "delta": None,
            "logprobs": _logprobs(completion.logprobs),
            "additional_kwargs": _facts(completion),
        }
    )


def completion_response(completion: Completion) -> CompletionResponse:
    """Return a whole answer as a ``CompletionResponse``."""
    return CompletionResponse(
        text=completion.text,
        raw=_raw(completion),
        logprobs=_logprobs(completion.logprobs),
        additional_kwargs=_with_reasoning(_facts(completion), completion),
    )


def alternative_texts(response: ChatResponse | CompletionResponse) -> list[str]:
    """Return the texts of an answer's alternatives, if several were requested (``n``, ``best_of``)."""
    facts = response.additional_kwargs
    ranked = facts.get("best_of_sequences") or ()
    return [*(facts.get("alternatives") or ()), *(one.get("generated_text") or "" for one in ranked)]


def as_chat_response(response: CompletionResponse) -> ChatResponse:
    """Convert a completion, or a chunk of one, to a chat response. Core's own function drops log probabilities."""
    return _CHAT_CHUNK.with_fields(
        {
            "message": _message(response.text, "", (), finished=True),
            "raw": response.raw,
            "delta": response.delta,
            "logprobs": response.logprobs,
            "additional_kwargs": dict(response.additional_kwargs),
        }
    )


class ResponseBuilder:
    """Builds the chunks of one stream. Every chunk has the whole answer so far, and the new text in ``delta``.

    The last chunk has the usage and all other information about the answer.

    Attributes:
        assembler: The answer so far, including every delta that became a chunk; kept if the stream breaks.
    """

    __slots__ = ("_blocks", "_plain", "_reader", "assembler")

    def __init__(self) -> None:
        self.assembler = Assembler()
        #: The blocks of the tool calls, by index; rebuilt only when a call has grown.
        self._blocks: dict[int, ToolCallBlock] = {}
        self._plain: dict[int, dict[str, Any]] = {}
        self._reader = PartialReader()

    @property
    def has_tool_calls(self) -> bool:
        """Whether the answer so far calls tools."""
        return bool(self._blocks)

    def chat(self, delta: Delta) -> ChatResponse | None:
        """Return the chunk of a chat stream; ``None`` for a step that only belongs to another choice."""
        answer = self.assembler
        answer.add(delta)
        if delta.choice:
            return None
        if delta.last:
            return self._last(delta)
        for piece in delta.tool_calls:
            self._show(piece.index)
        if self._blocks:
            message = _message_with(answer.text, answer.reasoning, [*self._blocks.values()], [*self._plain.values()])
        elif answer.reasoning:
            message = _message(answer.text, answer.reasoning, (), finished=False)
        else:
            return _text_chunk(answer.text, delta)
        fields = {
            "message": message,
            "raw": {"id": delta.id},
            "delta": delta.text,
            "logprobs": _logprobs(delta.logprobs),
            "additional_kwargs": _chunk_facts(delta, None),
        }
        return (
            _PARTIAL_CHUNK.with_fields(fields).read_by(self._reader)
            if self._blocks
            else _CHAT_CHUNK.with_fields(fields)
        )

    def _last(self, delta: Delta) -> ChatResponse:
        completion = self.assembler.completion()
        return _CHAT_CHUNK.with_fields(
            {
                "message": _finished_message(completion),
                "raw": _raw(completion),
                "delta": delta.text,
                "logprobs": _logprobs(delta.logprobs),
                "additional_kwargs": _chunk_facts(delta, completion),
            }
        )

    def _show(self, index: int) -> None:
        call = self.assembler.tool_call(index)
        comes_late = index not in self._blocks and index < len(self._blocks)
        self._blocks[index] = _tool_call_block(call, finished=False)
        self._plain[index] = _plain_tool_call(call)
        if comes_late:  # Later calls got their names before this one.
            self._blocks = dict(sorted(self._blocks.items()))
            self._plain = dict(sorted(self._plain.items()))

    def completion(self, delta: Delta) -> CompletionResponse | None:
        """Return the chunk of a completion stream; ``None`` for a step that only belongs to another choice."""
        self.assembler.add(delta)
        if delta.choice:
            return None
        completion = self.assembler.completion() if delta.last else None
        chunk = _COMPLETION_CHUNK.fields.copy()
        chunk["text"] = self.assembler.text
        chunk["raw"] = {"id": delta.id} if completion is None else _raw(completion)
        chunk["delta"] = delta.text
        chunk["logprobs"] = _logprobs(delta.logprobs)
        chunk["additional_kwargs"] = _with_reasoning(_chunk_facts(delta, completion), completion)
        return _COMPLETION_CHUNK.from_fields(chunk)


_TEXT = Prototype(TextBlock(text=""))
_THINKING = Prototype(ThinkingBlock(content=""))
_MESSAGE = Prototype(ChatMessage(role=MessageRole.ASSISTANT, blocks=[TextBlock(text="")]))
_CHAT_CHUNK = Prototype(
    ChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT), raw={}, delta="", additional_kwargs={})
)
_PARTIAL_CHUNK = Prototype(
    PartialChatResponse(message=ChatMessage(role=MessageRole.ASSISTANT), raw={}, delta="", additional_kwargs={})
)
_COMPLETION_CHUNK = Prototype(CompletionResponse(text="", raw={}, delta="", additional_kwargs={}))


def _text_chunk(text: str, delta: Delta) -> ChatResponse:
    """Build a chunk of text: a shortcut with the same result as ``ResponseBuilder.chat``."""
    block = _TEXT.fields.copy()
    block["text"] = text
    message = _MESSAGE.fields.copy()
    message["blocks"] = [_TEXT.from_fields(block)]
    message["additional_kwargs"] = {}
    chunk = _CHAT_CHUNK.fields.copy()
    chunk["message"] = _MESSAGE.from_fields(message)
    chunk["raw"] = {"id": delta.id}
    chunk["delta"] = delta.text
    chunk["logprobs"] = _logprobs(delta.logprobs)
    chunk["additional_kwargs"] = {}
    return _CHAT_CHUNK.from_fields(chunk)


def _finished_message(completion: Completion) -> ChatMessage:
    message = _message(completion.text, completion.reasoning, completion.tool_calls, finished=True)
    if completion.refusal:
        # Also in the message, because memories keep nothing else of an answer.
        message.additional_kwargs["refusal"] = completion.refusal
    encrypted = completion.extra.get(ENCRYPTED_REASONING)
    if encrypted:
        kept = {ENCRYPTED_REASONING: encrypted}
        spoken = [block for block in message.blocks if not isinstance(block, ThinkingBlock)]
        message.blocks = [ThinkingBlock(content=completion.reasoning, additional_information=kept), *spoken]
    return message


def _message(text: str, reasoning: str, calls: Sequence[ToolCall], *, finished: bool) -> ChatMessage:
    blocks = [_tool_call_block(call, finished=finished) for call in calls]
    return _message_with(text, reasoning, blocks, [_plain_tool_call(call) for call in calls])


def _message_with(
    text: str, reasoning: str, calls: Sequence[ToolCallBlock], plain: list[dict[str, Any]]
) -> ChatMessage:
    blocks: list[Any] = []
    if reasoning:
        blocks.append(_THINKING.with_fields({"content": reasoning, "additional_information": {}}))
    blocks.append(_TEXT.with_fields({"text": text}))
    blocks.extend(calls)
    # Core's streamed structured output and older code read calls from here, not from the blocks.
    return _MESSAGE.with_fields({"blocks": blocks, "additional_kwargs": {"tool_calls": plain} if plain else {}})


def _tool_call_block(call: ToolCall, *, finished: bool) -> ToolCallBlock:
    # Unfinished JSON stays text, and so do incomplete arguments of a finished call.
    arguments = parse_arguments(call.arguments) if finished and call.problem is None else None
    return ToolCallBlock(
        tool_call_id=call.id, tool_name=call.name, tool_kwargs=call.arguments if arguments is None else arguments
    )


def _plain_tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


# --------------------------------------------------------------------------- metadata of an answer


def _raw(completion: Completion) -> dict[str, Any]:
    """Return the body as received; for a stream, its merged fields. Always a dict, because core calls ``dict(raw)``."""
    if completion.raw is not None:
        raw = dict(completion.raw)
    else:
        raw = {
            "id": completion.id,
            "model": completion.model,
            "finish_reason": completion.finish_reason,
            **completion.extra,
        }
    if completion.usage is not None:
        raw["usage"] = {**(completion.usage.raw or {}), **completion.usage.counts()}
    return raw


def _facts(completion: Completion) -> dict[str, Any]:
    """Return ``additional_kwargs`` of a whole answer; unknown values are left out."""
    facts: dict[str, Any] = {
        "finish_reason": completion.finish_reason,
        "request_id": completion.request_id,
        "rate_limit": completion.rate_limit,
        "id": completion.id,
        "model": completion.model,
        "refusal": completion.refusal or None,
        "alternatives": [alternative.text for alternative in completion.alternatives] or None,
    }
    if completion.usage is not None:
        facts |= completion.usage.counts()
        facts["cached_tokens"] = completion.usage.cached_tokens
        facts["reasoning_tokens"] = completion.usage.reasoning_tokens
    if completion.extra:
        facts |= {name: completion.extra.get(name) for name in _SAID_OF_ANSWERS}
    return {name: fact for name, fact in facts.items() if fact is not None}


def _with_reasoning(facts: dict[str, Any], completion: Completion | None) -> dict[str, Any]:
    """Add the reasoning of a completion, which has no blocks."""
    if completion is not None and completion.reasoning:
        facts["reasoning"] = completion.reasoning
    return facts


def _chunk_facts(delta: Delta, completion: Completion | None) -> dict[str, Any]:
    facts = {} if completion is None else _facts(completion)
    if delta.reasoning:
        # Agents expect it here, on the response.
        facts["thinking_delta"] = delta.reasoning
    return facts


def _logprobs(logprobs: Sequence[TokenLogprob] | None) -> list[list[LogProb]] | None:
    """Return one list per position: the chosen token, then the other likely ones."""
    if logprobs is None:
        return None
    return [
        [_logprob(token), *(_logprob(other) for other in token.top if other.token != token.token)] for token in logprobs
    ]


_LOGPROB = Prototype(LogProb(token="", logprob=0.0, bytes=[]))
_UNKNOWN = float("nan")


def _logprob(token: TokenLogprob) -> LogProb:
    # LlamaIndex can express "unknown" only as NaN.
    fields = _LOGPROB.fields.copy()
    fields["token"] = token.token
    fields["logprob"] = _UNKNOWN if token.logprob is None else token.logprob
    fields["bytes"] = list(token.bytes or ())
    return _LOGPROB.from_fields(fields)
