"""Convert neutral answers to LangChain's results and chunks.

Text is in ``content``; reasoning in ``additional_kwargs["reasoning_content"]``; a refusal in
``additional_kwargs["refusal"]``; token counts in ``usage_metadata``; the rest in ``response_metadata``:
``model_provider``, and once per answer ``model_name``, ``finish_reason`` (the API's value) with core's
``normalized_finish_reason`` and ``finish_state``, ``request_id``, ``rate_limit`` (from the answer's headers), ``extra``
(fields that linkspan does not model), ``token_usage`` (only if a server counts only input or output); ``logprobs`` as
``{"content": [...]}``, in streams on each chunk if requested.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from langchain_core.messages import AIMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from linkspan.assembler import Assembler
from linkspan.errors import InvalidResponseError
from linkspan.langchain.answer_chunk import AnswerChunk, split_calls
from linkspan.langchain.usage import partial_counts, to_usage_metadata
from linkspan.prototype import Prototype
from linkspan.providers.filters.blocked import BLOCKED_FINISH_REASONS
from linkspan.tool_arguments import CUT_OFF_REASONS
from linkspan.unreadable import building_answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import Completion, Delta, TokenLogprob, ToolCall

__all__ = [
    "ChunkBuilder",
    "logprob_entries",
    "several_answers",
    "to_ai_message",
    "to_chat_result",
]


def to_chat_result(completion: Completion, provider: str, model: str | None = None) -> ChatResult:
    """Return a whole answer, with its alternatives, as LangChain's result.

    The usage covers the whole call and is on the first message only. ``model`` is the requested one, used if the API
    does not name the one that answered.
    """
    if completion.model is None and model is not None:
        completion = replace(completion, model=model)
    llm_output: dict[str, Any] = {"model_provider": provider}
    if completion.model is not None:
        llm_output["model_name"] = completion.model
    if completion.usage is not None:
        llm_output["token_usage"] = {**(completion.usage.raw or {}), **completion.usage.counts()}
    generations = [_generation(completion, provider)]
    generations += [_generation(_alternative(other, completion), provider) for other in completion.alternatives]
    return _RESULT.with_fields({"generations": generations, "llm_output": llm_output})


def _alternative(answer: Completion, whole: Completion) -> Completion:
    """Add what an alternative shares: model and request. Its tokens are part of the first message's usage."""
    return replace(
        answer, usage=None, model=answer.model or whole.model, request_id=answer.request_id or whole.request_id
    )


def _generation(answer: Completion, provider: str) -> ChatGeneration:
    info: dict[str, Any] = {}
    if answer.finish_reason is not None:
        info["finish_reason"] = answer.finish_reason
    if answer.logprobs is not None:
        info["logprobs"] = {"content": logprob_entries(answer.logprobs)}
    message = to_ai_message(answer, provider)
    return _GENERATION.with_fields({"text": message.content, "message": message, "generation_info": info or None})


def to_ai_message(completion: Completion, provider: str) -> AIMessage:
    """Return one answer as a message."""
    metadata = {**_metadata(completion, provider, completion.rate_limit), **_finish(completion)}
    if completion.logprobs is not None:
        metadata["logprobs"] = {"content": logprob_entries(completion.logprobs)}
    fields: dict[str, Any] = {
        "content": completion.text,
        "id": completion.id,
        "additional_kwargs": _additional(completion.reasoning, completion.refusal),
        "response_metadata": metadata,
        "tool_calls": [],
        "invalid_tool_calls": [],
        "usage_metadata": to_usage_metadata(completion.usage),
    }
    if completion.tool_calls:
        fields["content"] += _note_on_broken_calls(completion.text, completion.tool_calls)
        fields["tool_calls"], fields["invalid_tool_calls"] = split_calls(completion.tool_calls)
    elif _has_usual_facts(completion):
        return _MESSAGE.with_fields(fields)
    return AIMessage(**fields)


# Copied from a validated instance instead of validated again; see ChunkBuilder.
_MESSAGE = Prototype(AIMessage(content=""))
_GENERATION = Prototype(ChatGeneration(message=AIMessage(content="")))
_RESULT = Prototype(ChatResult(generations=[]))
_PIECE = Prototype(ChatGenerationChunk(message=AnswerChunk(content="")))
_PIECE_MESSAGE = Prototype(AnswerChunk(content=""))


def _has_usual_facts(completion: Completion) -> bool:
    """Whether id and token counts have the types that LangChain requires; servers may send others."""
    if not isinstance(completion.id, (str, type(None))):
        return False
    usage = completion.usage
    if usage is None:
        return True
    counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens, usage.cached_tokens, usage.reasoning_tokens)
    return all(count is None or type(count) is int for count in counts)


class ChunkBuilder:
    """Builds the chunks of one stream.

    Most chunks are a piece of text, and validating one costs more than reading it from the wire. So they are copied
    from a validated one, which has every field of this release of core with its default. ``model`` is the requested
    one, used if the API does not name the one that answers.

    Attributes:
        assembler: Receives each delta that became a chunk: it has the answer so far if the stream breaks.
    """

    __slots__ = ("_model", "_provider", "assembler")

    def __init__(self, provider: str, model: str | None = None) -> None:
        self._provider = provider
        self._model = model
        self.assembler = Assembler()

    def chunks(self, deltas: Sequence[Delta]) -> list[ChatGenerationChunk]:
        """Return the chunks of some deltas of a streamed answer, in order."""
        add, piece = self.assembler.add, self._piece
        made: list[ChatGenerationChunk] = []
        with building_answer(self._provider, self.assembler):
            for delta in deltas:
                add(delta)
                if delta.last or delta.tool_calls or delta.refusal or delta.choice:
                    made.extend(self._special_chunks(delta))
                else:
                    made.append(piece(delta))
        return made

    def _special_chunks(self, delta: Delta) -> Sequence[ChatGenerationChunk]:
        """Return a delta that is more than text as one chunk, or as two if it is the last one and calls tools.

        LangChain evaluates the chunk marked as last, so a piece of a call never carries the mark.

        Raises:
            InvalidResponseError: The delta belongs to another of several answers.
        """
        if delta.choice:
            raise several_answers(self._provider, self.assembler)
        if not delta.last:
            return (_chunk(delta, self._provider),)
        if delta.model is None and self._model is not None:
            delta = replace(delta, model=self._model)
        before: Sequence[ChatGenerationChunk] = ()
        if delta.tool_calls:
            before = (_chunk(replace(delta, last=False), self._provider),)
            delta = replace(delta, text="", reasoning="", refusal="", tool_calls=(), logprobs=None)
        return (*before, self._last(delta))

    def _last(self, delta: Delta) -> ChatGenerationChunk:
        answer = self.assembler.completion()
        if answer.tool_calls:
            delta = replace(delta, text=delta.text + _note_on_broken_calls(answer.text, answer.tool_calls))
        chunk = _chunk(delta, self._provider, answer.rate_limit)
        chunk.message.response_metadata.update(_finish(answer))
        broken = {place: call for place, call in enumerate(answer.tool_calls) if call.problem is not None}
        if broken:
            cast("AnswerChunk", chunk.message).set_broken_calls(
                dict(zip(broken, split_calls(broken.values())[1], strict=True))
            )
        return chunk

    def _piece(self, delta: Delta) -> ChatGenerationChunk:
        text = delta.text
        message = _PIECE_MESSAGE.fields.copy()
        message["content"] = text
        message["id"] = delta.id
        message["additional_kwargs"] = {"reasoning_content": delta.reasoning} if delta.reasoning else {}
        metadata: dict[str, Any] = {"model_provider": self._provider}
        if delta.logprobs:
            metadata["logprobs"] = {"content": logprob_entries(delta.logprobs)}
        message["response_metadata"] = metadata
        message["tool_calls"] = []
        message["invalid_tool_calls"] = []
        message["tool_call_chunks"] = []
        chunk = _PIECE.fields.copy()
        chunk["text"] = text
        chunk["message"] = _PIECE_MESSAGE.from_fields(message)
        return _PIECE.from_fields(chunk)


def several_answers(provider: str, so_far: Assembler) -> InvalidResponseError:
    """Return the error for a stream with a delta of a second answer."""
    return InvalidResponseError(
        f"{provider}: the stream holds several answers, which LangChain would merge into one. Request one (leave n "
        "unset), or use invoke or generate without streaming.",
        provider=provider,
        partial=so_far.completion(),
    )


def _chunk(delta: Delta, provider: str, rate_limit: Mapping[str, Any] | None = None) -> ChatGenerationChunk:
    metadata: dict[str, Any] = {"model_provider": provider}
    generation_info: dict[str, Any] | None = None
    fields: dict[str, Any] = {"content": delta.text, "id": delta.id, "response_metadata": metadata}
    if delta.reasoning or delta.refusal:
        fields["additional_kwargs"] = _additional(delta.reasoning, delta.refusal)
    if delta.tool_calls:
        fields["tool_call_chunks"] = [
            tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)
            for call in delta.tool_calls
        ]
    if delta.logprobs:
        metadata["logprobs"] = {"content": logprob_entries(delta.logprobs)}
    if delta.last:
        fields["chunk_position"] = "last"
        fields["usage_metadata"] = to_usage_metadata(delta.usage)
        metadata.update(_metadata(delta, provider, rate_limit))
        if delta.finish_reason is not None:
            generation_info = {"finish_reason": delta.finish_reason}
    return ChatGenerationChunk(message=AnswerChunk(**fields), generation_info=generation_info)


def _additional(reasoning: str, refusal: str) -> dict[str, Any]:
    additional: dict[str, Any] = {}
    if reasoning:
        additional["reasoning_content"] = reasoning
    if refusal:
        additional["refusal"] = refusal
    return additional


def _metadata(answer: Completion | Delta, provider: str, rate_limit: Mapping[str, Any] | None) -> dict[str, Any]:
    facts = {
        "model_provider": provider,
        "model_name": answer.model,
        "finish_reason": answer.finish_reason,
        "request_id": answer.request_id,
        "rate_limit": rate_limit,
        "extra": dict(answer.extra) if answer.extra else None,
        "token_usage": partial_counts(answer.usage),
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def _finish(answer: Completion) -> dict[str, str]:
    """Return the finish fields of core 1.8.4 and later; nothing if the API sends no finish reason."""
    if answer.finish_reason is None:
        return {}
    reason = _NORMALIZED.get(answer.finish_reason, "other")
    if answer.refusal:
        reason = "refusal"
    elif reason == "stop" and answer.tool_calls:  # as some servers send
        reason = "tool_call"
    # No API suspends an answer, core's other state. Unknown finish reasons get no state.
    state = {} if reason == "other" else {"finish_state": "complete"}
    return {"normalized_finish_reason": reason, **state}


#: Core's names for the finish reasons of Chat Completions servers and their imitators.
_NORMALIZED = {
    "stop": "stop",
    # TGI's and LightLLM's own, which remain if an answer was not read to its end.
    "eos_token": "stop",
    "stop_sequence": "stop",
    **dict.fromkeys(CUT_OFF_REASONS, "length"),
    "tool_calls": "tool_call",
    "function_call": "tool_call",
    **dict.fromkeys(BLOCKED_FINISH_REASONS, "refusal"),
}


def _note_on_broken_calls(text: str, calls: Sequence[ToolCall]) -> str:
    """Return a note to append to the text of an answer whose tool calls are all broken and so never run.

    An agent ends with such an answer. Without a note, it would look as if the model had nothing to say, or had done
    what it announced.
    """
    problems = [call.problem for call in calls if call.problem is not None]
    if len(problems) < len(calls):
        return ""
    return ("\n\n" if text else "") + " ".join(["No tool was called.", *problems])


def logprob_entries(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """Return an entry per token: ``token``, ``logprob``, ``top_logprobs``; ``bytes``, ``id``, ``special`` if known."""
    return [_logprob(token) for token in tokens]


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    entry: dict[str, Any] = {"token": token.token, "logprob": token.logprob}
    if token.bytes is not None:
        entry["bytes"] = list(token.bytes)
    if token.id is not None:
        entry["id"] = token.id
    if token.special is not None:
        entry["special"] = token.special
    entry["top_logprobs"] = logprob_entries(token.top) if token.top else []
    return entry
