"""``ChatLLMEngine``: chat with Scale LLM Engine in LangChain."""

from __future__ import annotations

from linkspan.langchain.templated_chat import TemplatedChatModel
from linkspan.settings.llm_engine_chat import LLMEngineChatSettings

__all__ = ["ChatLLMEngine"]


class ChatLLMEngine(LLMEngineChatSettings, TemplatedChatModel):  # type: ignore[misc]  # pydantic's plugin repeats itself
    """Chat models of a self-hosted Scale LLM Engine.

    Setup:
        ``pip install 'linkspan[langchain]'``; set ``LLM_ENGINE_BASE_PATH`` to the deployment's URL and
        ``SCALE_API_KEY`` to the key (LLM Engine uses it as the user name).

    Instantiate::

        from linkspan.langchain import ChatLLMEngine

        model = ChatLLMEngine(model="llama-3-1-8b-instruct", max_tokens=500)  # the chat API, v2: vLLM and SGLang
        model = ChatLLMEngine(model="llama-2-7b-chat", api="v1")  # the prompt API, with the model's chat template
        model = ChatLLMEngine(model="my-finetune", api="v1", chat_template="chatml")

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Tool calling and image input, on v2::

        model.bind_tools([my_function]).invoke("What is the weather in Paris?").tool_calls

    Structured output, on v2 by a required tool call; v1 has none on current images, see ``guided_decoding``::

        model.with_structured_output(MyPydanticClass).invoke("...")  # or an Enum of texts

    Reasoning models whose server leaves ``<think>`` in the text::

        ChatLLMEngine(model="deepseek-r1", split_reasoning=True)

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason`` (v1: ``length``, ``stop`` or none), ``request_id``,
        ``logprobs``, ``extra``; token counts in ``message.usage_metadata``.

    Environment: ``SCALE_API_KEY``; ``LLM_ENGINE_BASE_PATH``. Source: docs/apis/llm_engine.md.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, no valid URL, or ``api="v1"`` without a
            chat template.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``.
    """

    def _has_json_mode(self) -> bool:
        return self.api == "v2"

    def _holds_to_schema(self) -> bool:
        return self.api == "v2" or self.guided_decoding
