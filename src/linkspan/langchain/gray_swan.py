"""``ChatGraySwan``: Gray Swan Cygnet in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable

from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.profiles import profile_of
from linkspan.langchain.tools import Method
from linkspan.settings.gray_swan import GraySwanSettings

if TYPE_CHECKING:
    from langchain_core.language_models import ModelProfile

__all__ = ["ChatGraySwan"]


class ChatGraySwan(GraySwanSettings, LinkspanChatModel):
    """Gray Swan's Cygnet, a model with a separate role for untrusted text.

    Setup:
        ``pip install 'linkspan[langchain]'`` and set ``GRAYSWAN_API_KEY``.

    Instantiate::

        from linkspan.langchain import ChatGraySwan

        model = ChatGraySwan(temperature=0.2, max_tokens=500)

    Invoke, stream, async::

        model.invoke("Hello").content
        for chunk in model.stream("Tell me a story"):
            print(chunk.content, end="")
        await model.ainvoke([("system", "Be brief."), ("human", "Hello")])

    Untrusted text, whose instructions the model is trained not to follow, comes after the question::

        from langchain_core.messages import ChatMessage, HumanMessage

        model.invoke([HumanMessage("What does this page offer?"), ChatMessage(role="data", content=page)])

    Tool calling::

        model.bind_tools([my_function]).invoke("What is the weather in Paris?").tool_calls

    ``tool_results="data"`` sends tool results as untrusted text, too. The API can force a call of one named tool only,
    so ``tool_choice="any"`` works with a single tool. Agents that bind several with ``"any"`` (``create_agent`` with a
    ``response_format``, trustcall, langmem) need ``any_tool="auto"``, which lets the model decide.
    ``parallel_tool_calls`` is not sent; ``False`` keeps only an answer's first call.

    Structured output, by a forced tool call, or by the prompt and a parser (``method="json_mode"``)::

        model.with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        Only documented fields. ``stop`` is not one: linkspan enforces it, and closes a stream at a stop text. Any other
        parameter raises ``UnsupportedContentError``; pass it in ``extra_body`` to send it anyway. Content is plain
        text: several text blocks are joined by line breaks, images are refused. Names of assistants and tools are not
        sent; those of other speakers are refused unless ``speaker_names="text"``.

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason``, ``extra``. A blocked answer has the finish reason
        ``content_filter`` or ``violation``, or a text in ``message.additional_kwargs["refusal"]``. Streams have no
        token counts, as far as known.

    Environment: ``GRAYSWAN_API_KEY``; ``GRAY_SWAN_BASE_URL``.

    Raises:
        ConfigurationError: At construction: an unknown or invalid argument, an invalid URL, or no key.
        ModelError: A call failed; the error is both langchain-core's and one of ``linkspan.errors``. A
            ``NotFoundError`` may mean that the endpoint was retired or moved (``base_url``, ``path``).
    """

    def _resolve_model_profile(self) -> ModelProfile | None:
        info = self._model_info()
        return profile_of(info, tools=self._calls_tools(info))

    @property
    def _identifying_params(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("path", "raise_on_block", "any_tool", "speaker_names")}
        return {**super()._identifying_params, **own}

    @converted_errors()
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        include_raw: bool = False,
        method: Method = "function_calling",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers with objects of a schema.

        The API has no JSON mode and enforces no schema, so the answer may not match with either method.

        Args:
            schema: A pydantic class or dataclass (the answer is an instance), a TypedDict class or a JSON schema (the
                answer is a dict).
            include_raw: Return ``{"raw", "parsed", "parsing_error"}`` instead of raising parsing errors.
            method: ``"function_calling"`` (a forced tool call; ``"json_schema"``, many models' default, means the same
                here) or ``"json_mode"`` (the system message describes the shape, and the text is parsed; without a
                ``schema``, any JSON object).
            strict: This API cannot enforce ``True``: the call raises ``UnsupportedContentError``.
            **kwargs: Bound unchanged.

        Raises:
            ConfigurationError: The method is unknown, or the schema missing or unusable.
            OutputParserException: (langchain-core's, at the call) The answer is not one whole object of the schema: it
                was cut off, has text around it, or does not call the tool.
            ContentBlockedError: (at the call) The answer was blocked, or the model refused.
        """
        from linkspan.langchain import structured_output  # noqa: PLC0415  # its parsers take long to load

        if method == "json_mode" and strict is None:
            return structured_output.structured_by_prompt(self, schema, include_raw=include_raw, kwargs=kwargs)
        if method == "json_schema":
            method = "function_calling"
        return structured_output.structured(
            self, schema, method=method, strict=strict, include_raw=include_raw, kwargs=kwargs
        )
