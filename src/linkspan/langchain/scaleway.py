"""``ChatScaleway``: Scaleway Generative APIs in LangChain."""

from __future__ import annotations

from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.settings.scaleway import ScalewayChatSettings

__all__ = ["ChatScaleway"]


class ChatScaleway(ScalewayChatSettings, LinkspanChatModel):
    """Chat models of Scaleway Generative APIs.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``SCW_SECRET_KEY`` (or ``SCALEWAY_API_KEY``).

    Instantiate::

        from linkspan.langchain import ChatScaleway

        model = ChatScaleway(model="llama-3.3-70b-instruct", temperature=0.2, max_tokens=500)

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Tool calling::

        model.bind_tools([my_function]).invoke("What is the weather in Paris?").tool_calls

    Structured output::

        model.with_structured_output(MyPydanticClass).invoke("...")

    Image input::

        HumanMessage([{"type": "text", "text": "What is this?"}, {"type": "image", "url": "https://..."}])

    Token usage:
        ``message.usage_metadata``; of a stream, on the last chunk.

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason``, ``request_id``, ``logprobs``, ``extra``. Reasoning is in
        ``message.additional_kwargs["reasoning_content"]`` and among ``message.content_blocks``.

    APIs:
        Chat Completions, or the Responses API: with ``api="responses"``, and by default for calls with tools to
        gpt-oss-120b, which calls tools only there.

    Models:
        ``model.list_models()`` and ``alist_models()`` call the API; ``model.profile`` comes from linkspan's catalogue.
        Any name works. Deprecated and retired models issue a ``linkspan.errors.ModelRetiredWarning``. For a dedicated
        deployment, set ``base_url``; it needs a key only if it requires authentication.

    Environment: ``SCW_SECRET_KEY``, then ``SCALEWAY_API_KEY``; ``SCALEWAY_BASE_URL``.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, an invalid URL, or no key.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """
