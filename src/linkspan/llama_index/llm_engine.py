"""Scale LLM Engine in LlamaIndex: its prompt API (v1) and its chat API (v2)."""

from __future__ import annotations

from typing import ClassVar

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.llama_index.completion_llm import CompletionLLM
from linkspan.providers.llm_engine import DEFAULT_MAX_NEW_TOKENS
from linkspan.settings.llm_engine import LLMEnginePromptSettings
from linkspan.settings.llm_engine_chat import LLMEngineChatSettings

__all__ = ["ChatLLMEngine", "LLMEngine"]


class LLMEngine(LLMEnginePromptSettings, CompletionLLM):
    """Completion models of a self-hosted Scale LLM Engine, by its prompt API (v1): for every inference framework.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.llm_engine import LLMEngine
        >>> llm = LLMEngine(model="llama-2-7b-chat")  # URL and key come from the environment
        >>> print(llm.complete("The three primary colours are"))
        >>> print(llm.chat([ChatMessage("What is a linkspan?")]))  # written by the model's chat template

    ``prompt``, ``max_new_tokens`` (256 unless set) and ``temperature`` (0.2 unless set) are always sent, everything
    else only if set. Values that every framework behind LLM Engine refuses raise ``InvalidRequestError`` before
    anything is sent. Structured output needs ``guided_decoding=True`` and an endpoint with vLLM before 0.12, because
    newer images ignore the fields for it; or ``pydantic_program_mode="llm"``, which uses the prompt. The API sends no
    finish reason: ``finish_reason`` is ``length`` if the server counted as many tokens as the limit, ``stop`` if
    linkspan cut the answer at a stop text, and absent otherwise. Token counts are in ``raw["usage"]`` and
    ``additional_kwargs``, log probabilities (with ``return_token_log_probs``) in ``logprobs``.

    Raises:
        ConfigurationError: An unknown or invalid argument, or no URL.
    """

    _default_max_tokens: ClassVar[int] = DEFAULT_MAX_NEW_TOKENS


class ChatLLMEngine(LLMEngineChatSettings, ChatLLM):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Chat models of a self-hosted Scale LLM Engine, by its chat API (v2), with tools: for vLLM and SGLang endpoints.

    Example:
        >>> from llama_index.llms.llm_engine import ChatLLMEngine
        >>> llm = ChatLLMEngine(model="llama-3-1-8b-instruct")  # URL and key come from the environment
        >>> agent = FunctionAgent(tools=[my_function], llm=llm)

    Only what is set is sent. Structured output uses a required tool call, because the gateway corrupts
    ``response_format``; with ``guided_decoding=True``, for images with vLLM before 0.12, it uses ``guided_json``.

    Raises:
        ConfigurationError: An unknown or invalid argument, or no URL.
    """
