"""``ChatDataCrunch``: chat with vLLM, SGLang and TGI servers in LangChain."""

from __future__ import annotations

from linkspan.langchain.templated_chat import TemplatedChatModel
from linkspan.settings.datacrunch_chat import DataCrunchChatSettings

__all__ = ["ChatDataCrunch"]


class ChatDataCrunch(DataCrunchChatSettings, TemplatedChatModel):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Chat models of DataCrunch (Verda) and of any other vLLM, SGLang or TGI server.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``DATACRUNCH_API_KEY`` (or ``VERDA_INFERENCE_KEY``).

    Instantiate::

        from linkspan.langchain import ChatDataCrunch

        container = "https://containers.datacrunch.io/my-deployment"
        model = ChatDataCrunch(base_url=container, api="openai")  # vLLM and SGLang; the model that the server lists
        model = ChatDataCrunch(base_url="https://inference.verda.com/v1", model="a-model")  # Verda's gateway
        model = ChatDataCrunch(model="mixtral", chat_template="mistral")  # the legacy endpoint, with a chat template
        model = ChatDataCrunch(base_url=container)  # TGI's own chat route: tools
        model = ChatDataCrunch(base_url="http://127.0.0.1:8080", chat_template="llama-3")  # generate, with a template

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Structured output, by a response format with ``"openai"``, else by TGI's grammars::

        model.with_structured_output(MyPydanticClass).invoke("...")  # or an Enum of texts

    Reasoning models whose server leaves ``<think>`` in the text: ``split_reasoning=True``.

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason`` (``length``, ``stop``), ``logprobs``, and in ``extra``
        TGI's ``details`` (``generated_tokens``, ``seed``, ``tgi_finish_reason``, …); token counts in
        ``message.usage_metadata``. ``generate`` always sends log probabilities: unless requested, a stream's last chunk
        has all of them. Requested, each chunk has its own:
        ``model.stream(..., details=True)`` or ``top_n_tokens=3``; ``logprobs=True`` on ``"messages"``.

    With ``api="openai"``:
        Supports tools together with a schema, ``n``, penalties, ``logit_bias``, ``structured_outputs``; images, audio
        and videos if the model does. Reasoning is in ``message.additional_kwargs["reasoning_content"]``. ``profile``
        gets its context window from the server's model list, read by ``list_models()`` or the first call without
        ``model``, or from ``info()`` of a TGI container. TGI's settings are refused. For a server that loses tool calls
        in streams, set ``disable_streaming="tool_calling"``.

    Environment: ``DATACRUNCH_API_KEY``, then ``VERDA_INFERENCE_KEY``, then ``VERDA_API_KEY``;
    ``DATACRUNCH_BASE_URL``, then ``VERDA_BASE_URL``.
    Source: docs/apis/datacrunch.md.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, an invalid URL, no key, no model on the
            legacy endpoint, or ``api="generate"`` without a chat template.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """

    def _has_json_mode(self) -> bool:
        return self._api() == "openai"
