"""The ways to chat with a server on DataCrunch (Verda): TGI's two, and the OpenAI API of vLLM and SGLang."""

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

#: No TGI server takes more.
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
        api: Which API answers: ``"generate"`` is there on every TGI server; ``"messages"`` has tools and images, on
            containers only; ``"openai"`` is that of vLLM and SGLang.
        model: The model's name, by which a template may be found.
        chat_template: How conversations are written for ``"generate"``: a template, its name, or Jinja.
        split_reasoning: Part text between ``<think>`` and ``</think>`` from the answer, as reasoning.
        short_call_ids: For ``"openai"``: see :class:`OpenAIChatCodec`.

    Raises:
        ConfigurationError: ``"generate"`` is asked for and there is no template, or a template that nothing would use.
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
            f"TGI's generate takes prompts, and the chat template of {model!r} is not known: give chat_template, one "
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
