"""Convert neutral answers to LangChain's generations, for completion models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.outputs import Generation, GenerationChunk, LLMResult

from linkspan.langchain.chunks import logprob_entries
from linkspan.langchain.usage import combine_outputs
from linkspan.prototype import Prototype

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.assembler import Assembler
    from linkspan.conversation import Completion, Delta

__all__ = ["to_generation_chunk", "to_llm_result"]


def to_llm_result(completions: Sequence[Completion], provider: str, model: str | None) -> LLMResult:
    """Return the answers to several prompts as one result.

    ``model`` is the requested one, used if the API does not name the one that answered.
    """
    return LLMResult(
        generations=[
            [
                Generation(text=answer.text, generation_info=_info(answer, model))
                for answer in (whole, *whole.alternatives)
            ]
            for whole in completions
        ],
        llm_output=combine_outputs([_llm_output(completion, provider, model) for completion in completions]),
    )


def to_generation_chunk(delta: Delta, assembler: Assembler, model: str | None) -> GenerationChunk:
    """Return one step of a streamed answer. The last one carries the information about the whole answer.

    Core merges the infos of chunks by adding numbers and joining texts, so each must appear only once.
    """
    if not delta.last:
        # Copied from a validated instance: validating each chunk costs more than parsing it.
        fields = _PIECES.fields.copy()
        fields["text"] = delta.text
        return _PIECES.from_fields(fields)
    return GenerationChunk(text=delta.text, generation_info=_info(assembler.completion(), model))


_PIECES = Prototype(GenerationChunk(text=""))


def _info(completion: Completion, model: str | None) -> dict[str, Any] | None:
    usage = completion.usage
    facts = {
        **completion.extra,
        "finish_reason": completion.finish_reason,
        "model_name": completion.model or model,
        "request_id": completion.request_id,
        "rate_limit": completion.rate_limit,
        "token_usage": None if usage is None else usage.counts() or None,
        "logprobs": None if completion.logprobs is None else logprob_entries(completion.logprobs),
    }
    return {name: fact for name, fact in facts.items() if fact is not None} or None


def _llm_output(completion: Completion, provider: str, model: str | None) -> dict[str, Any]:
    output: dict[str, Any] = {"model_provider": provider}
    if completion.model or model:
        output["model_name"] = completion.model or model
    if completion.usage is not None:
        output["token_usage"] = completion.usage.counts()
    return output
