"""The two ways to chat with a TGI server: its own chat route, and ``generate`` through a chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from linkspan.errors import ConfigurationError
from linkspan.prompts import chat_templates, find_template
from linkspan.providers.datacrunch.chat import DataCrunchChatCodec
from linkspan.providers.datacrunch.codec import TGICodec
from linkspan.providers.datacrunch.grammar import grammar_of
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.filters.thinking import THINK_TAGS, ThinkTagCodec
from linkspan.providers.templated_chat import TemplatedChatCodec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, ResponseFormat
    from linkspan.prompts import ChatTemplate
    from linkspan.providers.codec import Codec

__all__ = ["ChatAPI", "chat_codec"]

#: Which route answers: ``"generate"`` is there everywhere; ``"messages"`` has tools and images, on containers only.
ChatAPI = Literal["generate", "messages"]

#: No TGI server takes more.
_MOST_STOPS = 4


def chat_codec(
    *, api: ChatAPI, model: str | None, chat_template: ChatTemplate | str | None, split_reasoning: bool
) -> Codec[ChatRequest]:
    """Return the codec of a chat class.

    Args:
        api: Which route answers.
        model: The model's name, by which a template may be found.
        chat_template: How conversations are written for ``"generate"``: a template, its name, or Jinja.
        split_reasoning: Part text between ``<think>`` and ``</think>`` from the answer, as reasoning.

    Raises:
        ConfigurationError: ``"generate"`` is asked for and there is no template, or a template that nothing would use.
    """
    if api == "messages":
        if chat_template is not None:
            raise ConfigurationError(
                'chat_template is for api="generate": with "messages" the server writes the prompt itself.',
                provider=DATACRUNCH.name,
            )
        codec: Codec[ChatRequest] = DataCrunchChatCodec()
        return ThinkTagCodec(codec) if split_reasoning else codec
    template = find_template(chat_template, model)
    if template is None:
        raise ConfigurationError(
            f"TGI's generate takes prompts, and the chat template of {model!r} is not known: give chat_template, one "
            f'of {", ".join(chat_templates())}, or the model\'s own as Jinja text; or api="messages" on a container.',
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
