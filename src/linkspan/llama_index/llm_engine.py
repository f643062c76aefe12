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
    """Models of a Scale LLM Engine of one's own, by its prompt API (v1), which every framework behind it serves.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.llm_engine import LLMEngine
        >>> llm = LLMEngine(model="llama-2-7b-chat")  # address and key come from the environment
        >>> print(llm.complete("The three primary colours are"))
        >>> print(llm.chat([ChatMessage("What is a linkspan?")]))  # written by the model's chat template

    ``prompt``, ``max_new_tokens`` (256 unless set) and ``temperature`` (0.2 unless set) are always sent, else only what
    is set. Values that every framework behind LLM Engine refuses raise ``InvalidRequestError`` before anything is sent.
    Structured output goes through ``guided_json`` (vLLM only); the answer is checked, since newer vLLM ignores it. The
    API gives no finish reason. Token counts are in ``raw["usage"]`` and ``additional_kwargs``, log probabilities (with
    ``return_token_log_probs``) in ``logprobs``.

    Args:
        model: Name of the endpoint.
        api_key: The key; else ``SCALE_API_KEY``.
        base_url: The deployment's address (also ``api_base``); else ``LLM_ENGINE_BASE_PATH``.
        auth: How the key is sent: ``"basic"`` (beside ``x-api-key``) or ``"bearer"``.
        temperature: Sampling temperature, 0.0 to 1.0.
        max_tokens: Longest answer in tokens (also ``max_new_tokens``).
        stop: One text or several that end the answer and are not part of it (also ``stop_sequences``).
        chat_template: How conversations are written: a template's name, Jinja text, or a ``ChatTemplate``. Given, it
            also makes the text of ``complete`` a user's turn. Else by the model's name, else plain lines.
        messages_to_prompt: A function of your own for conversations; beats the template.
        completion_to_prompt: A function of your own for the text of ``complete``; beats the template.
        split_reasoning: Take text between ``<think>`` and ``</think>`` at the start of an answer for reasoning: in
            ``chat`` a ``ThinkingBlock``, in ``complete`` ``additional_kwargs["reasoning"]``.
        return_token_log_probs: Ask for log probabilities.
        presence_penalty: 0.0 to 2.0.
        frequency_penalty: 0.0 to 2.0.
        top_k: Consider only this many of the likeliest tokens; -1 for all.
        top_p: Nucleus sampling, more than 0.
        include_stop_str_in_output: Leave the stop text in the answer; vLLM only.
        guided_json: A JSON Schema that the answer must follow; vLLM only, one guided field at a time.
        guided_regex: A regular expression that it must match; vLLM only.
        guided_choice: Texts of which it must be one; vLLM only.
        guided_grammar: A context-free grammar that it must follow; vLLM only.
        skip_special_tokens: Leave special tokens out of the answer; vLLM only.
        context_window: Tokens of prompt and answer together; 4096 unless set.
        data_role: What becomes of data messages: an error, or ``"fenced"`` user turns.
        additional_kwargs: Further fields of the API.
        extra_body: Merged into the body last, as it is.
        default_headers: Sent with every request. Kept out of ``repr`` and ``to_dict``: they may hold a key.
        timeout: Seconds of silence allowed; 360 unless set, since the server itself waits up to 300 for a model.
        max_retries: How often a failed attempt is repeated.
        http_client: An ``httpx.Client`` to use; it is not closed, and not pickled.
        http_async_client: An ``httpx.AsyncClient`` to use; it is not closed, and not pickled.
        allow_insecure_http: Allow the key over plain http to a public host.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the address is missing.
    """

    _default_max_tokens: ClassVar[int] = DEFAULT_MAX_NEW_TOKENS

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "LLMEngine"


class ChatLLMEngine(LLMEngineChatSettings, ChatLLM):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Models of a Scale LLM Engine of one's own, by its chat API (v2), with tools: for vLLM and SGLang endpoints.

    Example:
        >>> from llama_index.llms.llm_engine import ChatLLMEngine
        >>> llm = ChatLLMEngine(model="llama-3-1-8b-instruct")  # address and key come from the environment
        >>> agent = FunctionAgent(tools=[my_function], llm=llm)

    Nothing that is not set is sent. Structured output goes through ``guided_json``, since the gateway garbles
    ``response_format``; the answer is checked, since newer vLLM ignores that field.

    Args:
        model: Name of the endpoint.
        api_key: The key; else ``SCALE_API_KEY``.
        base_url: The deployment's address (also ``api_base``); else ``LLM_ENGINE_BASE_PATH``.
        auth: How the key is sent: ``"basic"`` (beside ``x-api-key``) or ``"bearer"``.
        split_reasoning: Take text between ``<think>`` and ``</think>`` at the start of an answer for reasoning.
        temperature: Sampling temperature.
        max_tokens: Longest answer in tokens.
        top_p: Nucleus sampling.
        top_k: Consider only this many of the likeliest tokens; -1 for all.
        presence_penalty: Penalty for tokens that occurred.
        frequency_penalty: Penalty by how often tokens occurred.
        repetition_penalty: Penalty for tokens that occurred, more than 0; 1 means off.
        reasoning_effort: How much a reasoning model thinks.
        seed: Seed of the sampling.
        stop: One text or several that end the answer and are not part of it.
        guided_json: A JSON Schema that the answer must follow; one guided field at a time.
        guided_regex: A regular expression that it must match.
        guided_choice: Texts of which it must be one.
        guided_grammar: A context-free grammar that it must follow.

    The other arguments are those of ``LLMEngine`` and ``Scaleway``.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the address is missing.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "ChatLLMEngine"
