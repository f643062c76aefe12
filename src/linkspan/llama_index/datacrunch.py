"""DataCrunch (Verda), and any vLLM, SGLang or TGI server, in LlamaIndex."""

from __future__ import annotations

from typing import ClassVar

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.llama_index.completion_llm import CompletionLLM
from linkspan.providers.datacrunch import DEFAULT_MAX_NEW_TOKENS
from linkspan.settings.datacrunch import DataCrunchPromptSettings
from linkspan.settings.datacrunch_chat import DataCrunchChatSettings

__all__ = ["ChatDataCrunch", "DataCrunch"]


class DataCrunch(DataCrunchPromptSettings, CompletionLLM):
    """Models of DataCrunch (Verda), and of any other TGI, vLLM or SGLang server, by prompts.

    TGI has ``generate`` and ``generate_stream``; with ``api="openai"`` prompts go to ``/v1/completions`` of vLLM and
    SGLang, whose own parameters are sent as they are.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.datacrunch import DataCrunch
        >>> llm = DataCrunch(model="mixtral", chat_template="mistral")  # the legacy endpoint; DATACRUNCH_API_KEY
        >>> llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment")  # a container with TGI
        >>> llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment", api="openai")  # vLLM, SGLang
        >>> print(llm.complete("What is deep learning?"))

    ``max_new_tokens`` (512 unless set) and ``details=true`` are always sent, else only what is set. ``temperature=0``
    means greedy decoding and is left out, as TGI wants it; so are ``top_p=1`` and ``typical_p=1``. Values that every
    TGI server refuses raise ``InvalidRequestError`` before anything is sent. Special tokens and stop texts are not part
    of an answer's text. Structured output goes through TGI's grammars.

    Finish reason (TGI's word) and token counts are in ``additional_kwargs`` and ``raw``, where ``details`` is found
    too; log probabilities in ``logprobs``, in streams on the last chunk, with ``details=True`` or ``top_n_tokens`` on
    each its own.

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
    """Chat models of a vLLM, SGLang or TGI server, with tools. On containers and your own servers only.

    Example:
        >>> from llama_index.llms.datacrunch import ChatDataCrunch
        >>> container = "https://containers.datacrunch.io/my-deployment"
        >>> llm = ChatDataCrunch(base_url=container)  # TGI's chat route
        >>> llm = ChatDataCrunch(base_url=container, api="openai")  # vLLM, SGLang
        >>> agent = FunctionAgent(tools=[my_function], llm=llm)

    Nothing that is not set is sent. With ``api="openai"`` structured output goes by a response format, tools beside it,
    and the model and its window (``metadata``) are those that the server lists. TGI's grammars do not work with
    tools.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the address is the legacy one, which has no chat route.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "ChatDataCrunch"
