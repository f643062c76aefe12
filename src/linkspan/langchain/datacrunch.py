"""``DataCrunch``: prompts to TGI, vLLM and SGLang in LangChain."""

from __future__ import annotations

from linkspan.langchain.completion_model import LinkspanLLM
from linkspan.settings.datacrunch import DataCrunchPromptSettings

__all__ = ["DataCrunch"]


class DataCrunch(DataCrunchPromptSettings, LinkspanLLM):
    """Models of DataCrunch (Verda), and of any other TGI, vLLM or SGLang server, by prompts.

    TGI has ``generate`` and ``generate_stream``; with ``api="openai"`` prompts go to ``/v1/completions`` of vLLM and
    SGLang. What follows on parameters and answers is about TGI; vLLM takes its own (``n``, ``echo``, ``logprobs``,
    ``structured_outputs``, …), of which only ``max_tokens`` is sent unset (512), and ``generation_info`` has
    ``finish_reason``, ``logprobs``, ``token_usage`` and what else it says.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``DATACRUNCH_API_KEY`` (or ``VERDA_INFERENCE_KEY``).

    Instantiate::

        from linkspan.langchain import DataCrunch

        llm = DataCrunch(model="mixtral", temperature=0.5, max_tokens=200)  # the legacy endpoint
        llm = DataCrunch(base_url="https://containers.datacrunch.io/my-deployment")  # a container
        llm = DataCrunch(base_url="http://127.0.0.1:8080")  # your own TGI server
        llm = DataCrunch(base_url="http://127.0.0.1:8000/v1", api="openai")  # vLLM or SGLang

    Invoke, stream, batch, async::

        llm.invoke("What is deep learning?")
        for piece in llm.stream("Once upon a time"):
            print(piece, end="")
        llm.batch(["One,", "Two,"])  # asked at once, at most max_concurrency
        await llm.ainvoke("Hello")

    Structured output by TGI's grammars, or a response format: a schema, or an ``Enum`` of texts::

        llm.with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        ``max_new_tokens`` (512 unless set: servers' own defaults differ widely), ``details=true``, and what else is
        set. ``temperature=0`` means greedy decoding and is left out, as TGI wants it; so are ``top_p=1`` and
        ``typical_p=1``. Values that every TGI server refuses raise ``InvalidRequestError`` before anything is sent. The
        prompt goes as it is: for instruction-tuned models use ``ChatDataCrunch``.

    Answers:
        Special tokens and stop texts are not part of the text. ``generation_info`` of ``generate``, in streams of the
        last chunk: ``finish_reason`` (``length``, ``stop``), ``tgi_finish_reason`` (``eos_token``,
        ``stop_sequence``), ``generated_tokens``, ``seed``,
        ``logprobs`` (token, id, probability), ``prefill``, ``best_of_sequences``, ``top_tokens``, ``token_usage``.

    Environment: ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``, then ``VERDA_API_KEY``;
    ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
    Source: docs/apis/datacrunch.md.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, a bad address, a missing key, or a missing
            model on the legacy endpoint.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails.
    """
