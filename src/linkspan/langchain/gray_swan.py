"""``ChatGraySwan``: Gray Swan Cygnet in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.langchain.profiles import profile_of
from linkspan.settings.gray_swan import GraySwanSettings

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput, ModelProfile
    from langchain_core.runnables import Runnable

    from linkspan.langchain.structured_output import Method

__all__ = ["ChatGraySwan"]


class ChatGraySwan(GraySwanSettings, LinkspanChatModel):
    """Gray Swan's Cygnet, the model with a role of its own for untrusted text.

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

    ``tool_results="data"`` sends what tools return as untrusted text, too. The API can be made to call one tool, by
    name: ``tool_choice="any"`` works with a single tool. Agents that bind several with ``"any"`` (``create_agent`` with
    a ``response_format``, trustcall, langmem) need ``any_tool="auto"``, which leaves that choice to the model.
    ``parallel_tool_calls`` is not sent: ``False`` keeps an answer's first call.

    Structured output, by a forced tool call, or by words and a parser (``method="json_mode"``)::

        model.with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        Only documented fields. ``stop`` is none: it is enforced here, and a stream is closed at a stop text. Any other
        parameter raises ``UnsupportedContentError``, which names it; ``extra_body`` sends it all the same. Content is
        plain text: texts of several blocks are joined by line breaks, images are refused. Names of assistants and tools
        are not sent, those of other speakers are refused unless ``speaker_names="text"``.

    Response metadata:
        ``model_provider``, ``model_name``, ``finish_reason``, ``extra``. A blocked answer has the finish reason
        ``content_filter`` or ``violation``, or a text in ``message.additional_kwargs["refusal"]``. Streams carry no
        token counts, as far as is known.

    Environment: ``GRAYSWAN_API_KEY``; ``GRAY_SWAN_BASE_URL``.

    Raises:
        ConfigurationError: At construction for an unknown or wrong argument, a bad address or a missing key.
        ModelError: (of langchain-core, and at the same time of ``linkspan.errors``) when a call fails; a
            ``NotFoundError`` may mean that the endpoint has been retired or moved (``base_url``, ``path``).
    """

    def _resolve_model_profile(self) -> ModelProfile | None:
        info = self._model_info()
        return profile_of(info, tools=self._calls_tools(info))

    @property
    def _identifying_params(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("path", "raise_on_block", "any_tool", "speaker_names")}
        return {**super()._identifying_params, **own}

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

        The API has no JSON mode and holds no answer to a schema, so either way the answer may be another one.

        Args:
            schema: A pydantic class or dataclass (the answer is an instance), a TypedDict class or a JSON schema (the
                answer is a dict).
            include_raw: Answer with ``{"raw", "parsed", "parsing_error"}`` and raise no parsing error.
            method: ``"function_calling"`` (a forced tool call; ``"json_schema"``, many models' default, means the same
                here) or ``"json_mode"`` (the system message says the shape, and a parser reads the text; without a
                ``schema``, any JSON object).
            strict: ``True`` cannot be kept by this API: the call raises ``UnsupportedContentError``.
            **kwargs: Bound as they are.

        Raises:
            ConfigurationError: If the method is unknown, or the schema missing or unusable.
            OutputParserException: (of langchain-core, at the call) If the answer is not one whole object of the schema:
                it was cut off, has words around it, or is no such call.
            ContentBlockedError: (at the call) If the answer was blocked, or the model refused.
        """
        from linkspan.langchain import structured_output  # noqa: PLC0415  # its parsers take long to load

        if method == "json_mode" and strict is None:
            return structured_output.structured_by_prompt(self, schema, include_raw=include_raw, kwargs=kwargs)
        if method == "json_schema":
            method = "function_calling"
        return structured_output.structured(
            self, schema, method=method, strict=strict, include_raw=include_raw, kwargs=kwargs
        )
