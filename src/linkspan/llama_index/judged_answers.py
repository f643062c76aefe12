"""Apply judgements to LlamaIndex's questions and answers: keep them, add a warning, or replace them by a refusal."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from llama_index.core.base.llms.types import ChatResponse, CompletionResponse, TextBlock

from linkspan.conversation import Message, Text
from linkspan.guarding import JUDGEMENT_KEY, refusal_of, with_refusal
from linkspan.llama_index.answers import alternative_texts, chat_response
from linkspan.llama_index.cygnal import judged_chat_messages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llama_index.core.base.llms.types import ChatMessage

    from linkspan.guarding import Judgement

__all__ = ["as_completion", "judged_message", "refused", "turns_of", "warned_answer"]

#: Facts of a withheld answer, which was paid for, that its refusal keeps.
_PAID = (
    "model",
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "reasoning_tokens",
    "rate_limit",
    "request_id",
)

AnswerT = TypeVar("AnswerT", ChatResponse, CompletionResponse)


def turns_of(answer: ChatResponse | CompletionResponse, streamed: str = "") -> list[Message]:
    """Return an answer and its alternatives, each as a turn.

    ``streamed`` is the text of a stream that ends with this answer. It is one more turn if the answer lacks it, as with
    an LLM whose chunks have only their own text.
    """
    if isinstance(answer, CompletionResponse):
        text = answer.text
        turn = with_refusal(Message("assistant", [Text(text)]), answer.additional_kwargs.get("refusal"))
    else:
        text = answer.message.content or ""
        (turn,) = judged_chat_messages([answer.message])
    others = [*alternative_texts(answer), *([] if streamed.strip() in text else [streamed])]
    return [turn, *(Message("assistant", [Text(other)]) for other in others)]


def judged_message(message: ChatMessage, judgement: Judgement) -> ChatMessage:
    """Return a message in the form to send."""
    if judgement.action == "replace":
        return message.model_copy(update={"blocks": [TextBlock(text=judgement.notice)]})
    if judgement.action == "warn":
        return message.model_copy(update={"blocks": [*message.blocks, TextBlock(text=judgement.warning)]})
    return message


def warned_answer(answer: AnswerT, judgement: Judgement) -> AnswerT:
    """Return an answer with the warning at its end."""
    delta = judgement.warned("")
    if isinstance(answer, CompletionResponse):
        return answer.model_copy(update={"text": answer.text + delta, "delta": delta})
    blocks = list(answer.message.blocks)
    last = next((place for place in reversed(range(len(blocks))) if isinstance(blocks[place], TextBlock)), None)
    if last is None:
        blocks.append(TextBlock(text=judgement.warning))
    else:
        blocks[last] = TextBlock(text=f"{getattr(blocks[last], 'text', '')}{delta}")
    message = answer.message.model_copy(update={"blocks": blocks})
    return answer.model_copy(update={"message": message, "delta": delta})


def refused(judgement: Judgement, withheld: Mapping[str, Any] = MappingProxyType({})) -> ChatResponse:
    """Return the notice as a refusal; ``withheld`` are the ``additional_kwargs`` of the answer that it replaces."""
    refusal = chat_response(refusal_of(judgement.notice))
    paid = {name: withheld[name] for name in _PAID if name in withheld}
    kept = {**paid, **refusal.additional_kwargs, JUDGEMENT_KEY: judgement.summary}
    return refusal.model_copy(update={"delta": judgement.notice, "additional_kwargs": kept})


def as_completion(refusal: ChatResponse) -> CompletionResponse:
    """Return a refusal as the answer to a prompt."""
    text = refusal.message.content or ""
    return CompletionResponse(text=text, delta=text, additional_kwargs=refusal.additional_kwargs)
