"""DataCrunch (Verda) and any vLLM, SGLang or TGI server in LlamaIndex."""

from __future__ import annotations

from typing import ClassVar

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.llama_index.completion_llm import CompletionLLM
from linkspan.providers.datacrunch import DEFAULT_MAX_NEW_TOKENS
from linkspan.settings.datacrunch import DataCrunchPromptSettings
from linkspan.settings.datacrunch_chat import DataCrunchChatSettings

__all__ = ["ChatDataCrunch", "DataCrunch"]


class DataCrunch(DataCrunchPromptSettings, CompletionLLM):
    """Completion models of DataCrunch (Verda) and of any other TGI, vLLM or SGLang server.

    Calls TGI's ``generate`` and ``generate_stream``; with ``api="openai"``, ``/v1/completions`` of vLLM and SGLang,
    whose own parameters are sent unchanged.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.datacrunch import DataCrunch
        >>> llm = DataCrunch(model="mixtral", chat_template="mistral")  # the legacy endpoint; DATACRUNCH_API_KEY
        >>> llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment")  # a container with TGI
        >>> llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment", api="openai")  # vLLM, SGLang
        >>> print(llm.complete("What is deep learning?"))

    ``max_new_tokens`` (512 unless set) and ``details=true`` are always sent, everything else only if set.
    ``temperature=0`` means greedy decoding; TGI refuses the value, so it is left out, as are ``top_p=1`` and
    ``typical_p=1``. Values that every TGI server refuses raise ``InvalidRequestError`` before anything is sent. Special
    tokens and stop texts are not part of an answer's text. Structured output uses TGI's grammars.

    TGI's finish reason and token counts are in ``additional_kwargs`` and ``raw``, which also has ``details``. Log
    probabilities are in ``logprobs``: of a stream, on the last chunk, or on each with ``details=True`` or
    ``top_n_tokens``.

    Raises:
        ConfigurationError: An unknown or invalid argument, no key, or no model on the legacy endpoint.
    """

    _default_max_tokens: ClassVar[int] = DEFAULT_MAX_NEW_TOKENS
    _most_stops: ClassVar[int | None] = 4


class ChatDataCrunch(DataCrunchChatSettings, ChatLLM):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Chat models of a vLLM, SGLang or TGI server, with tools. On containers and your own servers only.

    Example:
        >>> from llama_index.llms.datacrunch import ChatDataCrunch
        >>> container = "https://containers.datacrunch.io/my-deployment"
        >>> llm = ChatDataCrunch(base_url=container)  # TGI's chat route
        >>> llm = ChatDataCrunch(base_url=container, api="openai")  # vLLM, SGLang
        >>> agent = FunctionAgent(tools=[my_function], llm=llm)

    Only what is set is sent. With ``api="openai"``, structured output uses a response format, also together with tools,
    and the model and its window (``metadata``) come from the server's list. TGI's grammars cannot be combined with
    tools.

    Raises:
        ConfigurationError: An unknown or invalid argument, or the legacy endpoint, which has no chat route.
    """
