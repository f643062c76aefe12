"""The base of chat models that may use a prompt API: chat template, reasoning in tags, choices."""

from __future__ import annotations

from dataclasses import asdict
from enum import EnumMeta
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.runnables import Runnable
from pydantic import Field, PrivateAttr

from linkspan.errors import ConfigurationError
from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.profiles import profile_of_server
from linkspan.langchain.tools import Method
from linkspan.prompts import ChatTemplate, guess_template
from linkspan.settings.templated import TemplateSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from langchain_core.language_models import ModelProfile
    from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented

__all__ = ["TemplatedChatModel"]


class TemplatedChatModel(TemplateSettings, LinkspanChatModel):
    """Abstract base; use a provider's class."""

    context_window: int | None = Field(
        default=None,
        gt=0,
        description="Most tokens of prompt and answer together; `profile` gives it to agents and their middleware. "
        "Default: the server's, once it was read.",
    )
    #: The profile created here, to distinguish it from the user's.
    _own_profile: Any = PrivateAttr(default=None)

    if TYPE_CHECKING:

        def _choice_options(self, choices: list[str]) -> dict[str, Any]: ...

    def _resolve_model_profile(self) -> ModelProfile | None:
        self._own_profile = self._profile_with(self.context_window or self._served_window())
        return dict(self._own_profile)  # type: ignore[return-value]  # a copy

    def _profile_with(self, window: int | None) -> ModelProfile:
        return profile_of_server(tools=self._calls_tools(None), context_window=window)

    def _window_known(self) -> None:
        self._renew_profile(self.context_window or self._served_window())

    def _changed(self, update: Mapping[str, Any]) -> None:
        super()._changed(update)
        if update.keys() & {"api", "base_url", "chat_template", "context_window", "model"}:
            # What one server reported may not hold for further calls.
            self._renew_profile(self.context_window)

    def _renew_profile(self, window: int | None) -> None:
        """Update the window in the profile, unless the profile is the user's."""
        if self.profile is not None and self.profile == self._own_profile:
            self._own_profile = self._profile_with(window)
            self.__dict__["profile"] = dict(self._own_profile)

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return the serialized form, with a ``ChatTemplate`` spelled out, because core's cache key includes it."""
        written: Any = super().to_json()
        if isinstance(self.chat_template, ChatTemplate) and "kwargs" in written:
            written["kwargs"]["chat_template"] = asdict(self.chat_template)
        return written  # type: ignore[no-any-return]  # a TypedDict, changed in place

    def _model_of(self, named: str | None) -> str | None:
        model = super()._model_of(named)
        if self.chat_template is None and model and self.model and self._writes_prompts:
            template = guess_template(self.model)
            if guess_template(model) != template:
                raise ConfigurationError(
                    f"model={model!r}: prompts are written by the chat template of {self.model!r}, which is not that "
                    f"of this model. Create a second {type(self).__name__} for it, or set chat_template."
                )
        return model

    @converted_errors()
    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        include_raw: bool = False,
        method: Method = "json_schema",
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """Return a runnable that answers with objects of a schema, or with one of several texts.

        Args:
            schema: A pydantic class or dataclass (the answer is an instance), a TypedDict class, a JSON schema (a
                dict), or an ``Enum`` of texts (the answer is a member; with ``method="json_schema"`` only).
            include_raw: Return ``{"raw", "parsed", "parsing_error"}`` instead of raising parsing errors.
            method: ``"json_schema"`` (the server enforces the schema), ``"function_calling"`` (a forced tool call) or
                ``"json_mode"`` (any JSON: describe the shape in the prompt; without such a mode in the API, the schema
                is sent or, without one, the system message requests an object).
            strict: Sent with the schema, only if set. With ``True`` all fields are required and no others allowed.
            **kwargs: Bound unchanged.

        Raises:
            ConfigurationError: The method is unknown, or the schema missing or unusable.
            OutputParserException: (langchain-core's, at the call) The answer is not one whole object of the schema: it
                was cut off, has text around it, or does not call the tool.
            ContentBlockedError: (at the call) The answer was blocked, or the model refused.
        """
        if not isinstance(schema, EnumMeta):
            return super().with_structured_output(
                schema, include_raw=include_raw, method=method, strict=strict, **kwargs
            )
        if method != "json_schema":
            raise ConfigurationError(f"An Enum works with method='json_schema' only, not {method!r}.")
        from linkspan.langchain import answer_parsers, structured_output  # noqa: PLC0415  # parsers take long to load

        asked = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        options = self._choice_options(answer_parsers.choices_of(schema))
        bound: Any = self.bind(**options, ls_structured_output_format=asked, **kwargs)
        return structured_output.parsed(bound, answer_parsers.ChoiceParser(target=schema), include_raw=include_raw)
