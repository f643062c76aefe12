"""``DataCrunch``: TGI's ``generate`` and ``generate_stream`` in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import model_validator

from linkspan.langchain.completion_model import LinkspanLLM
from linkspan.langchain.datacrunch_connection import DataCrunchConnected
from linkspan.providers.datacrunch import GENERATE_FIELDS, TGICodec, check_model, datacrunch_base_url, json_grammar

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = ["DataCrunch"]


class DataCrunch(DataCrunchConnected, LinkspanLLM):
    """Models of DataCrunch (Verda), and of any other TGI server, by ``generate`` and ``generate_stream``.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``DATACRUNCH_API_KEY`` (or ``VERDA_INFERENCE_KEY``).

    Instantiate::

        from linkspan.langchain import DataCrunch

        llm = DataCrunch(model="mixtral", temperature=0.5, max_tokens=200)  # the legacy endpoint
        llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment")  # a container
        llm = DataCrunch(base_url="http://127.0.0.1:8080")  # a TGI server of one's own

    Invoke, stream, batch, async::

        llm.invoke("What is deep learning?")
        for piece in llm.stream("Once upon a time"):
            print(piece, end="")
        llm.batch(["One,", "Two,"])  # asked at once, at most max_concurrency
        await llm.ainvoke("Hello")

    Structured output by TGI's grammars: a schema, or an ``Enum`` of texts::

        llm.with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        ``max_new_tokens`` (512 unless set: servers' own defaults differ widely), ``details=true``, and what else is
        set. ``temperature=0`` means greedy decoding and is left out, as TGI wants it; so are ``top_p=1`` and
        ``typical_p=1``. Values that every TGI server refuses raise ``InvalidRequestError`` before anything is sent. The
        prompt goes as it is: for instruction-tuned models use ``ChatDataCrunch``.

    Answers:
        Special tokens and stop texts are not part of the text. ``generation_info`` of ``generate``, in streams of the
        last chunk: ``finish_reason`` (``length``, ``eos_token``, ``stop_sequence``), ``generated_tokens``, ``seed``,
        ``logprobs`` (token, id, probability), ``prefill``, ``best_of_sequences``, ``top_tokens``, ``token_usage``.

    Environment: ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``; ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
    Source: DataCrunch reference, sections 1 to 6.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, a bad address, a missing key, or a missing
            model on the legacy endpoint.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails.
    """

    argument_aliases: ClassVar[Mapping[str, str]] = {**LinkspanLLM.argument_aliases, "max_new_tokens": "max_tokens"}
    sampling_parameters: ClassVar[tuple[str, ...]] = GENERATE_FIELDS

    do_sample: bool | None = None
    """Sample also where no other parameter makes the server sample. Not sent unless set."""
    top_k: int | None = None
    """Consider only this many of the likeliest tokens, from 1. Not sent unless set."""
    top_p: float | None = None
    """Nucleus sampling: consider the likeliest tokens up to this probability, more than 0; 1 means all. Not sent unless
    set."""
    typical_p: float | None = None
    """Typical decoding mass, more than 0; 1 means off. Not sent unless set."""
    repetition_penalty: float | None = None
    """Discourages tokens that appeared already, more than 0; 1 means off. Not sent unless set."""
    frequency_penalty: float | None = None
    """Discourages tokens by how often they appeared, -2.0 to 2.0; since TGI 1.4. Not sent unless set."""
    seed: int | None = None
    """Seed of the sampling, 0 to 2^64-1. Not sent unless set."""
    best_of: int | None = None
    """Generate this many answers and return the likeliest; the others are in ``generation_info``. Not with streams, not
    with ``seed``, only when sampling. Not sent unless set."""
    truncate: int | None = None
    """Keep only so many of the prompt's last tokens. Not sent unless set."""
    watermark: bool | None = None
    """Mark the answer as a machine's. Not sent unless set."""
    return_full_text: bool | None = None
    """Put the prompt before the answer. Not sent unless set."""
    details: bool | None = None
    """``False`` asks for the text alone, without finish reason, counts and tokens. Default: asked for."""
    decoder_input_details: bool | None = None
    """Ask for the prompt's tokens and their probabilities, in ``prefill``; not with streams. Not sent unless set."""
    top_n_tokens: int | None = None
    """Ask for this many of the likeliest tokens at each place, in ``top_tokens``. Not sent unless set."""
    grammar: dict[str, Any] | None = None
    """What the answer must look like: ``{"type": "json", "value": schema}`` or ``{"type": "regex", "value": ...}``;
    since TGI 1.4. Not sent unless set."""
    adapter_id: str | None = None
    """LoRA adapter to use; since TGI 2.1. Not sent unless set."""

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        check_model(self.model, self._resolved_base_url())
        return self

    def _resolved_base_url(self) -> str:
        return datacrunch_base_url(self.base_url)

    def _make_codec(self) -> Any:
        return TGICodec()

    def _schema_options(self, schema: dict[str, Any]) -> dict[str, Any]:
        return {"grammar": json_grammar(schema)}
