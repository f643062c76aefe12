"""``ChatLLMEngine``: chat with Scale LLM Engine in LangChain."""

from __future__ import annotations

from typing import Any, ClassVar

from linkspan.langchain.llm_engine_connection import LLMEngineConnected
from linkspan.langchain.templated_chat import TemplatedChatModel
from linkspan.providers.llm_engine.chat_apis import ChatAPI, chat_codec

__all__ = ["ChatLLMEngine"]


class ChatLLMEngine(LLMEngineConnected, TemplatedChatModel):
    """Chat models of a Scale LLM Engine of one's own.

    Setup:
        ``pip install 'linkspan[langchain]'``; set ``LLM_ENGINE_BASE_PATH`` to the deployment's address and
        ``SCALE_API_KEY`` to the key (LLM Engine reads it as the user's name).

    Instantiate::

        from linkspan.langchain import ChatLLMEngine

        model = ChatLLMEngine(model="llama-3-1-8b-instruct", max_tokens=500)  # the chat API, v2: vLLM and SGLang
        model = ChatLLMEngine(model="llama-2-7b-chat", api="v1")  # the prompt API, through the model's chat template
        model = ChatLLMEngine(model="my-finetune", api="v1", chat_template="chatml")

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Tool calling and image input, on v2::

        model.bind_tools([my_function]).invoke("What is the weather in Paris?").tool_calls

    Structured output, by ``guided_json`` on either API; the answer is checked, since newer vLLM ignores that field::

        model.with_structured_output(MyPydanticClass).invoke("...")  # or an Enum of texts

    Reasoning models whose server leaves ``<think>`` in the text::

        ChatLLMEngine(model="deepseek-r1", split_reasoning=True)

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason`` (v2 only: v1 gives none), ``request_id``, ``logprobs``,
        ``extra``; token counts in ``message.usage_metadata``.

    Environment: ``SCALE_API_KEY``; ``LLM_ENGINE_BASE_PATH``. Source: LLM Engine reference, sections 3 to 7.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, a missing or bad address, or ``api="v1"``
            without a chat template.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails.
    """

    sampling_parameters: ClassVar[tuple[str, ...]] = (
        *TemplatedChatModel.sampling_parameters,
        "top_k",
        "presence_penalty",
        "frequency_penalty",
        "repetition_penalty",
        "reasoning_effort",
        "return_token_log_probs",
        "guided_json",
        "guided_regex",
        "guided_choice",
        "guided_grammar",
    )
    _prompt_api: ClassVar[str] = "v1"
    _codec_fields: ClassVar[frozenset[str]] = frozenset(
        {"api", "auth", "chat_template", "inference_framework", "model", "split_reasoning"}
    )

    api: ChatAPI = "v2"
    """``"v2"``, the chat API; or ``"v1"``, the prompt API through a chat template, for frameworks without chat."""
    top_k: int | None = None
    """Consider only this many of the likeliest tokens; -1 for all. Not sent unless set."""
    presence_penalty: float | None = None
    """Discourages tokens that appeared already. Not sent unless set."""
    frequency_penalty: float | None = None
    """Discourages tokens by how often they appeared. Not sent unless set."""
    repetition_penalty: float | None = None
    """Discourages tokens that appeared already, more than 0; 1 means off. v2 only. Not sent unless set."""
    reasoning_effort: str | None = None
    """How much a reasoning model thinks. v2 only. Not sent unless set."""
    return_token_log_probs: bool | None = None
    """Ask for the log probability of each token. v1 only (on v2: ``logprobs``). Not sent unless set."""
    guided_json: dict[str, Any] | None = None
    """A JSON Schema that the answer must follow; vLLM only, one guided field at a time. Not sent unless set."""
    guided_regex: str | None = None
    """A regular expression that the answer must match; vLLM only. Not sent unless set."""
    guided_choice: list[str] | None = None
    """Texts of which the answer must be one; vLLM only. Not sent unless set."""
    guided_grammar: str | None = None
    """A context-free grammar that the answer must follow; vLLM only. Not sent unless set."""

    def _has_json_mode(self) -> bool:
        return self.api == "v2"

    def _make_codec(self) -> Any:
        return chat_codec(
            api=self.api,
            auth=self.auth,
            model=self.model,
            chat_template=self.chat_template,
            split_reasoning=self.split_reasoning,
            inference_framework=self.inference_framework,
        )
