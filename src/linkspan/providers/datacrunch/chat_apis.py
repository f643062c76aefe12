"""Choose the codec to chat with a server: TGI's ``generate`` or ``messages``, or the OpenAI API of vLLM and SGLang."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.errors import ConfigurationError
from linkspan.prompts import chat_templates, find_template
from linkspan.providers.datacrunch.chat import DataCrunchChatCodec
from linkspan.providers.datacrunch.codec import TGICodec
from linkspan.providers.datacrunch.grammar import grammar_of
from linkspan.providers.datacrunch.openai_chat import OpenAIChatCodec
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.filters.thinking import THINK_TAGS, ThinkTagCodec
from linkspan.providers.templated_chat import TemplatedChatCodec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, ResponseFormat
    from linkspan.prompts import ChatTemplate
    from linkspan.providers.codec import Codec
    from linkspan.providers.datacrunch.parameter_apis import API

__all__ = ["chat_codec"]

#: Every TGI server accepts this many.
_MOST_STOPS = 4


def chat_codec(
    *,
    api: API,
    model: str | None,
    chat_template: ChatTemplate | str | None,
    split_reasoning: bool,
    short_call_ids: bool = False,
) -> Codec[ChatRequest]:
    """Return the codec of a chat class.

    Args:
        api: The API to call: ``"generate"`` exists on every TGI server; ``"messages"`` supports tools and images, on
            containers only; ``"openai"`` is for vLLM and SGLang.
        model: The model's name, which may identify a template.
        chat_template: For ``"generate"``: a template, its name, or Jinja source.
        split_reasoning: Split text between ``<think>`` and ``</think>`` off the answer, as reasoning.
        short_call_ids: For ``"openai"``: see :class:`OpenAIChatCodec`.

    Raises:
        ConfigurationError: ``"generate"`` without a template, or a template for another API.
    """
    if api != "generate":
        if chat_template is not None:
            raise ConfigurationError(
                f'chat_template is for api="generate": with "{api}" the server writes the prompt itself.',
                provider=DATACRUNCH.name,
            )
        codec: Codec[ChatRequest] = (
            OpenAIChatCodec(short_call_ids=short_call_ids) if api == "openai" else DataCrunchChatCodec()
        )
        return ThinkTagCodec(codec) if split_reasoning else codec
    template = find_template(chat_template, model)
    if template is None:
        raise ConfigurationError(
            f"TGI's generate takes prompts, and the chat template of {model!r} is unknown: set chat_template to one "
            f'of {", ".join(chat_templates())}, or the model\'s own as Jinja text; or api="messages" (TGI) or '
            '"openai" (vLLM, SGLang) on a container.',
            provider=DATACRUNCH.name,
        )
    return TemplatedChatCodec(
        TGICodec(),
        template,
        title=DATACRUNCH.title,
        split_reasoning=THINK_TAGS if split_reasoning else None,
        structured=_grammar,
        max_stops=_MOST_STOPS,
    )


def _grammar(wanted: ResponseFormat) -> Mapping[str, Any]:
    return {"grammar": grammar_of(wanted)}
