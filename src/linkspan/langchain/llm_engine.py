"""``LLMEngine``: completion models on Scale LLM Engine's prompt API (v1) in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from linkspan.langchain.completion_model import LinkspanLLM
from linkspan.langchain.llm_engine_connection import LLMEngineConnected
from linkspan.providers.llm_engine import PROMPT_FIELDS, LLMEnginePromptCodec

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LLMEngine"]


class LLMEngine(LLMEngineConnected, LinkspanLLM):
    """Completion models of a Scale LLM Engine of one's own, by its prompt API (v1).

    Setup:
        ``pip install 'linkspan[langchain]'``; set ``LLM_ENGINE_BASE_PATH`` to the deployment's address and
        ``SCALE_API_KEY`` to the key (LLM Engine reads it as the user's name).

    Instantiate::

        from linkspan.langchain import LLMEngine

        llm = LLMEngine(model="llama-2-7b", temperature=0.2, max_tokens=200)

    Invoke, stream, batch, async::

        llm.invoke("The three primary colours are")
        for piece in llm.stream("Once upon a time"):
            print(piece, end="")
        llm.batch(["One,", "Two,"])  # asked at once, at most max_concurrency
        await llm.ainvoke("Hello")

    Structured output, where the endpoint runs vLLM: a schema, or an ``Enum`` of texts::

        llm.with_structured_output(MyPydanticClass).invoke("...")

    ``guided_regex`` and ``guided_grammar`` are parameters, of the class and of a call.

    What is sent:
        ``prompt``, ``max_new_tokens`` (256 unless set) and ``temperature`` (0.2 unless set: the API has no default),
        and what else is set. Values that every framework behind LLM Engine refuses raise ``InvalidRequestError`` before
        anything is sent. The prompt goes as it is: for instruction-tuned models use ``ChatLLMEngine``.

    Response metadata:
        ``generation_info`` of ``generate``, in streams of the last chunk: ``request_id``, ``model_name``,
        ``token_usage`` (as far as the server counts), ``logprobs`` (with ``return_token_log_probs``). The API gives no
        finish reason.

    Environment: ``SCALE_API_KEY``; ``LLM_ENGINE_BASE_PATH``. Source: LLM Engine reference, sections 3 to 5.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, or a missing or bad address.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails.
    """

    argument_aliases: ClassVar[Mapping[str, str]] = {
        **LinkspanLLM.argument_aliases,
        "max_new_tokens": "max_tokens",
        "stop_sequences": "stop",
    }
    sampling_parameters: ClassVar[tuple[str, ...]] = (
        "temperature",
        "max_tokens",
        *(name for name in PROMPT_FIELDS if name not in ("temperature", "max_new_tokens", "stop_sequences")),
    )

    _codec_fields: ClassVar[frozenset[str]] = frozenset({"auth", "inference_framework"})

    model: str
    """Name of the endpoint. ``model_name`` is taken as well."""
    return_token_log_probs: bool | None = None
    """Ask for the log probability of each token. Not sent unless set."""
    presence_penalty: float | None = None
    """Discourages tokens that appeared already, 0.0 to 2.0. Not sent unless set."""
    frequency_penalty: float | None = None
    """Discourages tokens by how often they appeared, 0.0 to 2.0. Not sent unless set."""
    top_k: int | None = None
    """Consider only this many of the likeliest tokens; -1 for all. Not sent unless set."""
    top_p: float | None = None
    """Nucleus sampling: consider the likeliest tokens up to this probability. Not sent unless set."""
    include_stop_str_in_output: bool | None = None
    """Leave the stop text in the answer; vLLM only. Not sent unless set."""
    guided_json: dict[str, Any] | None = None
    """A JSON Schema that the answer must follow; vLLM only, one guided field at a time. Not sent unless set."""
    guided_regex: str | None = None
    """A regular expression that the answer must match; vLLM only. Not sent unless set."""
    guided_choice: list[str] | None = Field(default=None)
    """Texts of which the answer must be one; vLLM only. Not sent unless set."""
    guided_grammar: str | None = None
    """A context-free grammar that the answer must follow; vLLM only. Not sent unless set."""
    skip_special_tokens: bool | None = None
    """Leave special tokens out of the answer; vLLM only, the server's default is yes. Not sent unless set."""

    def _make_codec(self) -> Any:
        return LLMEnginePromptCodec(self.auth, inference_framework=self.inference_framework)

    def _schema_options(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {"guided_json": schema}
