"""``ChatDataCrunch``: chat with TGI servers in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from linkspan.langchain.datacrunch_connection import DataCrunchConnected
from linkspan.langchain.templated_chat import TemplatedChatModel
from linkspan.providers.datacrunch import check_model, datacrunch_base_url
from linkspan.providers.datacrunch.chat_apis import ChatAPI, chat_codec

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["ChatDataCrunch"]


class ChatDataCrunch(DataCrunchConnected, TemplatedChatModel):
    """Chat models of DataCrunch (Verda), and of any other TGI server.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``DATACRUNCH_API_KEY`` (or ``VERDA_INFERENCE_KEY``).

    Instantiate::

        from linkspan.langchain import ChatDataCrunch

        model = ChatDataCrunch(model="mixtral", chat_template="mistral")  # the legacy endpoint, by a chat template
        model = ChatDataCrunch(base_url="https://containers.datacrunch.io/my-deployment", chat_template="llama-3")
        model = ChatDataCrunch(base_url="http://127.0.0.1:8080", api="messages")  # TGI's own chat route, with tools

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Structured output, by TGI's grammars on either route::

        model.with_structured_output(MyPydanticClass).invoke("...")  # or an Enum of texts

    Reasoning models whose server leaves ``<think>`` in the text: ``split_reasoning=True``.

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason`` (TGI's own words), ``logprobs``, and in ``extra`` what
        ``details`` say (``generated_tokens``, ``seed``, …); token counts in ``message.usage_metadata``. ``generate``
        sends log probabilities unasked: a stream's last chunk then has all. Asked for, each chunk has its own:
        ``model.stream(..., details=True)`` or ``top_n_tokens=3``; ``logprobs=True`` on ``"messages"``.

    Environment: ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``; ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
    Source: DataCrunch reference, sections 1 to 8.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, a bad address, a missing key, a missing
            model on the legacy endpoint, or ``api="generate"`` without a chat template.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails.
    """

    sampling_parameters: ClassVar[tuple[str, ...]] = (
        *TemplatedChatModel.sampling_parameters,
        "do_sample",
        "top_k",
        "typical_p",
        "repetition_penalty",
        "frequency_penalty",
        "truncate",
        "watermark",
        "adapter_id",
        "grammar",
    )
    _prompt_api: ClassVar[str] = "generate"
    _codec_fields: ClassVar[frozenset[str]] = frozenset({"api", "chat_template", "model", "split_reasoning"})

    model: str | None = None  # type: ignore[assignment]  # a container has one model and needs no name for it
    """Name of the model; needed on the legacy endpoint only. ``model_name`` is taken as well."""
    api: ChatAPI = "generate"
    """``"generate"``, through a chat template; or ``"messages"``, TGI's own chat route, on containers only."""
    do_sample: bool | None = None
    """Sample also where no other parameter makes the server sample. Not sent unless set."""
    top_k: int | None = None
    """Consider only this many of the likeliest tokens, from 1. Not sent unless set."""
    typical_p: float | None = None
    """Typical decoding mass, more than 0; 1 means off. Not sent unless set."""
    repetition_penalty: float | None = None
    """Discourages tokens that appeared already, more than 0; 1 means off. Not sent unless set."""
    frequency_penalty: float | None = None
    """Discourages tokens by how often they appeared, -2.0 to 2.0. Not sent unless set."""
    truncate: int | None = None
    """Keep only so many of the prompt's last tokens. Not sent unless set."""
    watermark: bool | None = None
    """Mark the answer as a machine's. Not sent unless set."""
    adapter_id: str | None = None
    """LoRA adapter to use; since TGI 2.1. Not sent unless set."""
    grammar: dict[str, Any] | None = None
    """What the answer must look like: ``{"type": "json", "value": schema}`` or ``{"type": "regex", "value": ...}``.
    Not sent unless set."""

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        check_model(self.model, self._resolved_base_url())
        return self

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url, api=self.api)

    def _has_json_mode(self) -> bool:
        return False

    def _make_codec(self) -> Any:
        return chat_codec(
            api=self.api,
            model=self.model,
            chat_template=self.chat_template,
            split_reasoning=self.split_reasoning,
        )
