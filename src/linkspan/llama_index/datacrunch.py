"""DataCrunch (Verda), and any TGI server, in LlamaIndex: ``generate`` and TGI's own chat route."""

from __future__ import annotations

from typing import ClassVar

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.llama_index.completion_llm import CompletionLLM
from linkspan.providers.datacrunch import DEFAULT_MAX_NEW_TOKENS
from linkspan.settings.datacrunch import DataCrunchPromptSettings
from linkspan.settings.datacrunch_chat import DataCrunchChatSettings

__all__ = ["ChatDataCrunch", "DataCrunch"]


class DataCrunch(DataCrunchPromptSettings, CompletionLLM):
    """Models of DataCrunch (Verda), and of any other TGI server, by ``generate`` and ``generate_stream``.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.datacrunch import DataCrunch
        >>> llm = DataCrunch(model="mixtral", chat_template="mistral")  # the legacy endpoint; DATACRUNCH_API_KEY
        >>> llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment")  # a container
        >>> print(llm.complete("What is deep learning?"))

    ``max_new_tokens`` (512 unless set) and ``details=true`` are always sent, else only what is set. ``temperature=0``
    means greedy decoding and is left out, as TGI wants it; so are ``top_p=1`` and ``typical_p=1``. Values that every
    TGI server refuses raise ``InvalidRequestError`` before anything is sent. Special tokens and stop texts are not part
    of an answer's text. Structured output goes through TGI's grammars.

    Finish reason (TGI's word) and token counts are in ``additional_kwargs`` and ``raw``, where ``details`` is found
    too; log probabilities in ``logprobs``, in streams on the last chunk, with ``details=True`` or ``top_n_tokens`` on
    each its own.

    Args:
        model: Name of the model; needed on the legacy endpoint only.
        api_key: The key; else ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``.
        base_url: Address (also ``api_base``); else ``DATACRUNCH_BASE_URL``, ``VERDA_BASE_URL``, the legacy endpoint.
        temperature: Sampling temperature; 0 for greedy decoding.
        max_tokens: Longest answer in tokens (also ``max_new_tokens``).
        stop: One text or several, at most four, that end the answer and are not part of it (also ``stop_sequences``).
        chat_template: How conversations are written: a template's name, Jinja text, or a ``ChatTemplate``. Given, it
            also makes the text of ``complete`` a user's turn. Else by the model's name, else plain lines.
        messages_to_prompt: A function of your own for conversations; beats the template.
        completion_to_prompt: A function of your own for the text of ``complete``; beats the template.
        split_reasoning: Take text between ``<think>`` and ``</think>`` at the start of an answer for reasoning: in
            ``chat`` a ``ThinkingBlock``, in ``complete`` ``additional_kwargs["reasoning"]``.
        do_sample: Sample also where no other parameter makes the server sample.
        top_k: Consider only this many of the likeliest tokens, from 1.
        top_p: Nucleus sampling, more than 0; 1 means all.
        typical_p: Typical decoding mass, more than 0; 1 means off.
        repetition_penalty: More than 0; 1 means off.
        frequency_penalty: -2.0 to 2.0; since TGI 1.4.
        seed: Seed of the sampling, 0 to 2^64-1.
        best_of: Generate this many answers and return the likeliest; not with streams, not with ``seed``.
        truncate: Keep only so many of the prompt's last tokens.
        watermark: Mark the answer as a machine's.
        return_full_text: Put the prompt before the answer.
        details: ``False`` asks for the text alone.
        decoder_input_details: Ask for the prompt's tokens, in ``raw``; not with streams.
        top_n_tokens: Ask for this many of the likeliest tokens at each place.
        grammar: What the answer must look like: ``{"type": "json" | "regex", "value": ...}``.
        adapter_id: LoRA adapter to use.
        context_window: Tokens of prompt and answer together; 4096 unless set.
        data_role: What becomes of data messages: an error, or ``"fenced"`` user turns.
        additional_kwargs: Further parameters of the API.
        extra_body: Merged into the body last, as it is.
        default_headers: Sent with every request. Kept out of ``repr`` and ``to_dict``: they may hold a key.
        timeout: Seconds of silence allowed; 300 unless set, since a container may have to start first.
        max_retries: How often a failed attempt is repeated.
        http_client: An ``httpx.Client`` to use; it is not closed, and not pickled.
        http_async_client: An ``httpx.AsyncClient`` to use; it is not closed, and not pickled.
        allow_insecure_http: Allow the key over plain http to a public host.

    Raises:
        ConfigurationError: An argument is unknown or wrong, the key is missing, or the model on the legacy endpoint.
    """

    _default_max_tokens: ClassVar[int] = DEFAULT_MAX_NEW_TOKENS
    _most_stops: ClassVar[int | None] = 4

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "DataCrunch"


class ChatDataCrunch(DataCrunchChatSettings, ChatLLM):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Models of a TGI server by its own chat route, with tools. On containers and servers of one's own only.

    Example:
        >>> from llama_index.llms.datacrunch import ChatDataCrunch
        >>> llm = ChatDataCrunch(base_url="https://containers.datacrunch.io/my-deployment")
        >>> agent = FunctionAgent(tools=[my_function], llm=llm)

    Nothing that is not set is sent. Structured output goes through TGI's grammars, which cannot be had with tools.

    Args:
        model: Name of the model, or of a LoRA adapter; a server has one model and needs none.
        api_key: The key; else ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``.
        base_url: Address (also ``api_base``); else ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
        split_reasoning: Take text between ``<think>`` and ``</think>`` at the start of an answer for reasoning.
        temperature: Sampling temperature.
        max_tokens: Longest answer in tokens.
        top_p: Nucleus sampling.
        seed: Seed of the sampling.
        frequency_penalty: -2.0 to 2.0.
        stop: One text or several, at most four, that end the answer and are not part of it.

    The other arguments are those of ``DataCrunch`` and ``Scaleway``.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the address is the legacy one, which has no chat route.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "ChatDataCrunch"
