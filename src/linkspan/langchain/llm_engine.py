"""``LLMEngine``: completion models on Scale LLM Engine's prompt API (v1) in LangChain."""

from __future__ import annotations

from linkspan.langchain.completion_model import LinkspanLLM
from linkspan.settings.llm_engine import LLMEnginePromptSettings

__all__ = ["LLMEngine"]


class LLMEngine(LLMEnginePromptSettings, LinkspanLLM):
    """Completion models of a self-hosted Scale LLM Engine, by its prompt API (v1).

    Setup:
        ``pip install 'linkspan[langchain]'``; set ``LLM_ENGINE_BASE_PATH`` to the deployment's URL and
        ``SCALE_API_KEY`` to the key (LLM Engine uses it as the user name).

    Instantiate::

        from linkspan.langchain import LLMEngine

        llm = LLMEngine(model="llama-2-7b", temperature=0.2, max_tokens=200)

    Invoke, stream, batch, async::

        llm.invoke("The three primary colours are")
        for piece in llm.stream("Once upon a time"):
            print(piece, end="")
        llm.batch(["One,", "Two,"])  # concurrent requests, at most max_concurrency
        await llm.ainvoke("Hello")

    Structured output, if the endpoint runs vLLM before 0.12 (newer images ignore the fields for it): a schema, or an
    ``Enum`` of texts. ``guided_regex`` and ``guided_grammar`` are parameters of the class and of a call::

        LLMEngine(model="llama-2-7b", guided_decoding=True).with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        ``prompt``, ``max_new_tokens`` (256 unless set) and ``temperature`` (0.2 unless set: the API has no default),
        and everything else that is set. Values that every framework behind LLM Engine refuses raise
        ``InvalidRequestError`` before anything is sent. The prompt is sent unchanged: for instruction-tuned models use
        ``ChatLLMEngine``.

    Response metadata:
        ``generation_info`` of ``generate``, or of a stream's last chunk: ``request_id``, ``model_name``,
        ``token_usage`` (if the server counts), ``logprobs`` (with ``return_token_log_probs``). The API sends no finish
        reason: ``finish_reason`` is ``length`` if the server counted as many tokens as the limit, ``stop`` if linkspan
        cut the answer at a stop text, and absent otherwise.

    Environment: ``SCALE_API_KEY``; ``LLM_ENGINE_BASE_PATH``. Source: docs/apis/llm_engine.md.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, or no valid URL.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """
