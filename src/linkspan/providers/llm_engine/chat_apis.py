"""Choose the codec to chat with LLM Engine: its chat API (v2), or its prompt API (v1) with a chat template."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from linkspan.errors import ConfigurationError, UnsupportedContentError
from linkspan.prompts import chat_templates, find_template
from linkspan.providers.filters.forced_call import ForcedCallCodec
from linkspan.providers.filters.thinking import THINK_TAGS, ThinkTagCodec
from linkspan.providers.llm_engine.chat import LLMEngineChatCodec
from linkspan.providers.llm_engine.prompt import LLMEnginePromptCodec
from linkspan.providers.llm_engine.prompt_fields import schema_refusal
from linkspan.providers.llm_engine.provider import LLM_ENGINE, Auth, Framework
from linkspan.providers.templated_chat import TemplatedChatCodec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, ResponseFormat
    from linkspan.prompts import ChatTemplate
    from linkspan.providers.codec import Codec

__all__ = ["ChatAPI", "chat_codec"]

#: The API to call: ``"v2"`` has tools, images and finish reasons; ``"v1"`` works with every inference framework.
ChatAPI = Literal["v1", "v2"]


def chat_codec(
    *,
    api: ChatAPI,
    auth: Auth,
    model: str | None,
    chat_template: ChatTemplate | str | None,
    split_reasoning: bool,
    inference_framework: Framework | None = None,
    guided_decoding: bool = False,
) -> Codec[ChatRequest]:
    """Return the codec of a chat class.

    Args:
        api: The API to call.
        auth: How the key is sent.
        model: Name of the endpoint, which may identify a template.
        chat_template: For ``"v1"``: a template, its name, or Jinja source.
        split_reasoning: Split text between ``<think>`` and ``</think>`` off the answer, as reasoning.
        inference_framework: Inference framework of the endpoint; see :class:`LLMEnginePromptCodec`.
        guided_decoding: Whether the endpoint obeys the ``guided_*`` fields.

    Raises:
        ConfigurationError: ``"v1"`` without a template, or a template for ``"v2"``.
    """
    if api == "v2":
        if chat_template is not None:
            raise ConfigurationError(
                'chat_template is for api="v1": on "v2" the server writes the prompt itself. (To make the server use '
                "another template, pass it in extra_body.)",
                provider=LLM_ENGINE.name,
            )
        codec: Codec[ChatRequest] = LLMEngineChatCodec(auth, guided_decoding=guided_decoding)
        if split_reasoning:
            codec = ThinkTagCodec(codec)
        return codec if guided_decoding else ForcedCallCodec(codec, LLM_ENGINE.title)
    template = find_template(chat_template, model)
    if template is None:
        raise ConfigurationError(
            f'api="v1" takes prompts, and the chat template of {model!r} is unknown: set chat_template to one of '
            f"{', '.join(chat_templates())}, or the model's own as Jinja text.",
            provider=LLM_ENGINE.name,
        )
    return TemplatedChatCodec(
        LLMEnginePromptCodec(auth, inference_framework=inference_framework, guided_decoding=guided_decoding),
        template,
        title=LLM_ENGINE.title,
        split_reasoning=THINK_TAGS if split_reasoning else None,
        structured=partial(_guide, obeyed=guided_decoding),
    )


def _guide(wanted: ResponseFormat, *, obeyed: bool) -> Mapping[str, Any]:
    if wanted.schema is None:
        raise UnsupportedContentError(
            f"{LLM_ENGINE.title}: the prompt API (v1) cannot return a JSON object without a schema. Add one, or ask "
            f"for JSON in the prompt.",
            provider=LLM_ENGINE.name,
        )
    if not obeyed:
        raise schema_refusal()
    return {"guided_json": dict(wanted.schema)}
