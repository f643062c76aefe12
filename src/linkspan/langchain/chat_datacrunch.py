"""``ChatDataCrunch``: chat with TGI servers in LangChain."""

from __future__ import annotations

from linkspan.langchain.templated_chat import TemplatedChatModel
from linkspan.settings.datacrunch_chat import DataCrunchChatSettings

__all__ = ["ChatDataCrunch"]


class ChatDataCrunch(DataCrunchChatSettings, TemplatedChatModel):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Chat models of DataCrunch (Verda), and of any other TGI server.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``DATACRUNCH_API_KEY`` (or ``VERDA_INFERENCE_KEY``).

    Instantiate::

        from linkspan.langchain import ChatDataCrunch

        model = ChatDataCrunch(model="mixtral", chat_template="mistral")  # the legacy endpoint, by a chat template
        model = ChatDataCrunch(base_url="https://containers.datacrunch.io/my-deployment")  # TGI's own chat route: tools
        model = ChatDataCrunch(base_url="http://127.0.0.1:8080", chat_template="llama-3")  # generate, by a template

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Structured output, by TGI's grammars on either route::

        model.with_structured_output(MyPydanticClass).invoke("...")  # or an Enum of texts

    Reasoning models whose server leaves ``<think>`` in the text: ``split_reasoning=True``.

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason`` (``length``, ``stop``), ``logprobs``, and in ``extra``
        what ``details`` say (``generated_tokens``, ``seed``, ``tgi_finish_reason``, …); token counts in
        ``message.usage_metadata``. ``generate``
        sends log probabilities unasked: a stream's last chunk then has all. Asked for, each chunk has its own:
        ``model.stream(..., details=True)`` or ``top_n_tokens=3``; ``logprobs=True`` on ``"messages"``.

    Environment: ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``; ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
    Source: DataCrunch reference, sections 1 to 8.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, a bad address, a missing key, a missing
            model on the legacy endpoint, or ``api="generate"`` without a chat template.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails.
    """

    def _has_json_mode(self) -> bool:
        return False
