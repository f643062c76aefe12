"""``DataCrunch``: prompts to TGI, vLLM and SGLang in LangChain."""

from __future__ import annotations

from linkspan.langchain.completion_model import LinkspanLLM
from linkspan.settings.datacrunch import DataCrunchPromptSettings

__all__ = ["DataCrunch"]


class DataCrunch(DataCrunchPromptSettings, LinkspanLLM):
    """Completion models of DataCrunch (Verda) and of any other TGI, vLLM or SGLang server.

    Calls TGI's ``generate`` and ``generate_stream``; with ``api="openai"``, ``/v1/completions`` of vLLM and SGLang.
    The notes on parameters and answers below are about TGI. vLLM has its own parameters (``n``, ``echo``, ``logprobs``,
    ``structured_outputs``, …); only ``max_tokens`` is always sent (512 unless set). ``generation_info`` then has
    ``finish_reason``, ``logprobs``, ``token_usage`` and the other fields of the answer.

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
        llm.batch(["One,", "Two,"])  # concurrent requests, at most max_concurrency
        await llm.ainvoke("Hello")

    Structured output, by TGI's grammars or a response format: a schema, or an ``Enum`` of texts::

        llm.with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        ``max_new_tokens`` (512 unless set: servers' defaults differ widely), ``details=true``, and everything else that
        is set. ``temperature=0`` means greedy decoding; TGI refuses the value, so it is left out, as are ``top_p=1``
        and ``typical_p=1``. Values that every TGI server refuses raise ``InvalidRequestError`` before anything is sent.
        The prompt is sent unchanged: for instruction-tuned models use ``ChatDataCrunch``.

    Answers:
        Special tokens and stop texts are not part of the text. ``generation_info`` of ``generate``, or of a stream's
        last chunk: ``finish_reason`` (``length``, ``stop``), ``tgi_finish_reason`` (``eos_token``, ``stop_sequence``),
        ``generated_tokens``, ``seed``, ``logprobs`` (token, id, probability), ``prefill``, ``best_of_sequences``,
        ``top_tokens``, ``token_usage``.

    Environment: ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``, then ``VERDA_API_KEY``;
    ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
    Source: docs/apis/datacrunch.md.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, an invalid URL, no key, or no model on the
            legacy endpoint.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """
