"""``ChatGraySwan``: Gray Swan Cygnet in LangChain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from linkspan.errors import ConfigurationError
from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.langchain.profiles import profile_of
from linkspan.providers.gray_swan import (
    CONTEXT_WINDOW,
    DEFAULT_MODEL,
    DEFAULT_PATH,
    GRAY_SWAN,
    PARAMETERS,
    GraySwanChatCodec,
    gray_swan_base_url,
    gray_swan_model_info,
    undocumented_parameter,
)

if TYPE_CHECKING:
    from langchain_core.language_models import LanguageModelInput, ModelProfile
    from langchain_core.runnables import Runnable

    from linkspan.langchain.structured_output import Method
    from linkspan.providers.provider import Provider

__all__ = ["ChatGraySwan"]


class ChatGraySwan(LinkspanChatModel):
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
    a ``response_format``) need ``extra_body={"tool_choice": "auto"}``, which leaves the choice to the model.

    Structured output, by a forced tool call, or by words and a parser (``method="json_mode"``)::

        model.with_structured_output(MyPydanticClass).invoke("...")

    What is sent:
        Only documented fields. ``stop`` is none: it is enforced here, and a stream is closed at a stop text. Any other
        parameter raises ``UnsupportedContentError``, which names it; ``extra_body`` sends it all the same. Content is
        plain text: texts of several blocks are joined by line breaks, images are refused. Names of assistants and tools
        are not sent, those of other speakers are refused.

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

    _provider: ClassVar[Provider] = GRAY_SWAN
    #: ``seed`` is here to be refused by name.
    sampling_parameters: ClassVar[tuple[str, ...]] = (*PARAMETERS, "seed")

    model: str = DEFAULT_MODEL
    """Name of the model. Default: ``"cygnet"``, the latest one."""
    frequency_penalty: float | None = None
    """Discourages tokens by how often they appeared. Not sent unless set."""
    n: int | None = Field(default=None, ge=1)
    """How many answers to make; more than one cannot be streamed. Not sent unless set."""
    moderate_before: bool | None = None
    """By its name, to screen the input before an answer is made; undocumented beyond that. Not sent unless set."""
    path: str = DEFAULT_PATH
    """The route below ``base_url``."""
    raise_on_block: bool = False
    """Raise ``ContentBlockedError`` for a blocked answer, also at the end of a stream; ``completion`` is the answer."""
    context_window: int = Field(default=CONTEXT_WINDOW, gt=0)
    """Tokens of prompt and answer together, as LangChain is told in ``profile``. Unpublished; 8192 is assumed."""

    @field_validator("seed")
    @classmethod
    def _refuse_seed(cls, value: int | None) -> int | None:
        if value is not None:
            raise ConfigurationError(undocumented_parameter("seed", value), provider=GRAY_SWAN.name)
        return value

    def _resolved_base_url(self) -> str:
        return gray_swan_base_url(self.base_url, self.path)

    def _make_codec(self) -> Any:
        return GraySwanChatCodec(self.path, raise_on_block=self.raise_on_block)

    def _resolve_model_profile(self) -> ModelProfile | None:
        return profile_of(gray_swan_model_info(self.model, self.context_window))

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, "path": self.path, "raise_on_block": self.raise_on_block}

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The environment variable that stands for the key in serialised models."""
        return {"api_key": GRAY_SWAN.api_key_env[0]}

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

        The API has no JSON mode and holds no answer to a schema, so both ways end in a parser that may fail.

        Args:
            schema: A pydantic class (the answer is an instance), a TypedDict class or a JSON schema (a dict).
            include_raw: Answer with ``{"raw", "parsed", "parsing_error"}`` and raise no parsing error.
            method: ``"function_calling"`` (a forced tool call; ``"json_schema"``, many models' default, means the same
                here) or ``"json_mode"`` (the system message says the shape, and a parser reads the text; without a
                ``schema``, any JSON object).
            strict: ``True`` cannot be kept by this API: the call raises ``UnsupportedContentError``.
            **kwargs: Bound as they are.

        Raises:
            ConfigurationError: If the method is unknown, or the schema missing or unusable.
        """
        from linkspan.langchain import structured_output  # noqa: PLC0415  # its parsers take long to load

        if method == "json_mode" and strict is None:
            return structured_output.structured_by_prompt(self, schema, include_raw=include_raw, kwargs=kwargs)
        if method == "json_schema":
            method = "function_calling"
        return structured_output.structured(
            self, schema, method=method, strict=strict, include_raw=include_raw, kwargs=kwargs
        )
