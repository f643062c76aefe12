"""DataCrunch (Verda), and any TGI server, in LlamaIndex: ``generate`` and TGI's own chat route."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003  # pydantic reads the annotations at run time
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.llama_index.completion_llm import CompletionLLM
from linkspan.llama_index.model_listing import ListsModels
from linkspan.providers.datacrunch import (
    DATACRUNCH,
    DEFAULT_MAX_NEW_TOKENS,
    GENERATE_FIELDS,
    TGICodec,
    ahealth,
    ainfo,
    check_model,
    datacrunch_base_url,
    health,
    info,
    json_grammar,
)
from linkspan.providers.datacrunch.chat_apis import chat_codec

if TYPE_CHECKING:
    from linkspan.conversation import ChatRequest, PromptRequest
    from linkspan.providers.codec import Codec
    from linkspan.providers.datacrunch import ServerHealth, ServerInfo
    from linkspan.providers.provider import Provider

__all__ = ["ChatDataCrunch", "DataCrunch"]


class _DataCrunchConnected(ListsModels):
    """A connection to DataCrunch, or any TGI server. Containers alone have ``list_models()``, since TGI 2.3."""

    _provider: ClassVar[Provider] = DATACRUNCH

    model: str = Field(default="", description="Name of the model; needed on the legacy endpoint only.")

    def health(self) -> ServerHealth:
        """Ask whether the server can generate: a truth value, with the server's words if not. Containers only.

        Raises:
            LinkspanError: It cannot be asked.
        """
        return health(self._connected())

    async def ahealth(self) -> ServerHealth:
        """Ask whether the server can generate; see ``health``."""
        return await ahealth(self._connected())

    def info(self) -> ServerInfo:
        """Ask what the server runs, and its limits. Containers only.

        Raises:
            LinkspanError: It cannot be asked.
        """
        return info(self._connected())

    async def ainfo(self) -> ServerInfo:
        """Ask what the server runs; see ``info``."""
        return await ainfo(self._connected())


class DataCrunch(_DataCrunchConnected, CompletionLLM):
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

    _parameter_fields: ClassVar[tuple[str, ...]] = GENERATE_FIELDS
    _argument_aliases: ClassVar[Mapping[str, str]] = {"max_new_tokens": "max_tokens", "stop_sequences": "stop"}
    _codec_fields: ClassVar[frozenset[str]] = frozenset({"split_reasoning"})
    _default_max_tokens: ClassVar[int] = DEFAULT_MAX_NEW_TOKENS
    _most_stops: ClassVar[int | None] = 4

    do_sample: bool | None = Field(default=None, description="Sample in any case.")
    top_k: int | None = Field(default=None, description="Consider only so many tokens, from 1.")
    top_p: float | None = Field(default=None, description="Nucleus sampling; 1: all.")
    typical_p: float | None = Field(default=None, description="Typical decoding mass; 1: off.")
    repetition_penalty: float | None = Field(default=None, description="Penalty for tokens that occurred; 1: off.")
    frequency_penalty: float | None = Field(default=None, description="Penalty by how often tokens occurred.")
    seed: int | None = Field(default=None, description="Seed of the sampling.")
    best_of: int | None = Field(default=None, description="Return the likeliest of so many answers.")
    truncate: int | None = Field(default=None, description="Keep only so many last tokens of the prompt.")
    watermark: bool | None = Field(default=None, description="Mark the answer as a machine's.")
    return_full_text: bool | None = Field(default=None, description="Put the prompt before the answer.")
    details: bool | None = Field(default=None, description="False: ask for the text alone.")
    decoder_input_details: bool | None = Field(default=None, description="Ask for the prompt's tokens.")
    top_n_tokens: int | None = Field(default=None, description="Ask for so many likeliest tokens at each place.")
    grammar: dict[str, Any] | None = Field(default=None, description="What the answer must look like.")
    adapter_id: str | None = Field(default=None, description="LoRA adapter.")

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        check_model(self.model, self._resolved_base_url())

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "DataCrunch"

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url)

    def _prompt_codec(self) -> Codec[PromptRequest]:
        return TGICodec()

    def _structured_options(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        return {"grammar": json_grammar(schema)}


class ChatDataCrunch(_DataCrunchConnected, ChatLLM):
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

    _parameter_fields: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens", "top_p", "seed", "frequency_penalty")
    _codec_fields: ClassVar[frozenset[str]] = frozenset({"split_reasoning"})

    split_reasoning: bool = Field(default=False, description="Part <think> blocks from answers, as reasoning.")
    frequency_penalty: float | None = Field(default=None, description="Penalty by how often tokens occurred.")

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "ChatDataCrunch"

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url, api="messages")

    def _codec(self) -> Codec[ChatRequest]:
        return chat_codec(
            api="messages", model=self.model or None, chat_template=None, split_reasoning=self.split_reasoning
        )
