"""What chat models and completion models for LangChain have in common: settings, copies, tracing, counting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.language_models import BaseLanguageModel, LangSmithParams
from pydantic import field_validator, model_validator

import linkspan
from linkspan.endpoint import as_extra_body
from linkspan.errors import ConfigurationError
from linkspan.langchain.arguments import near_match
from linkspan.langchain.connected import Connected
from linkspan.langchain.endpoint_slot import EndpointSlot
from linkspan.langchain.token_counting import count_message_tokens, count_text_tokens
from linkspan.langchain.tools import as_tool_dicts
from linkspan.providers.retirement import warn_if_retired

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from langchain_core.messages import BaseMessage
    from typing_extensions import Self

    _LanguageModel = BaseLanguageModel[Any]
else:
    # What the brackets make is one more pydantic class, between core's and this one.
    _LanguageModel = BaseLanguageModel

__all__ = ["LinkspanLanguageModel"]


class LinkspanLanguageModel(Connected, _LanguageModel):
    """What all language models here have in common. Not to be used itself.

    Per-call keywords (``invoke(..., temperature=0)``, ``bind(...)``) beat the instance; ``None`` takes a parameter of
    the instance away. A keyword that is no field here is taken for a sampling parameter of the API and sent under its
    own name, unless it is a near miss of a field.
    """

    #: The fields that are sent as parameters, under their own names.
    sampling_parameters: ClassVar[tuple[str, ...]] = ("temperature", "max_tokens")
    #: Other names of fields, taken by the constructor and by a call.
    argument_aliases: ClassVar[Mapping[str, str]] = {"model_name": "model"}
    #: What a call may override beside the sampling parameters.
    call_fields: ClassVar[frozenset[str]] = frozenset({"model", "stop", "extra_body", "timeout"})
    #: Keywords that LangChain itself binds, or a method here; never part of the body as they are.
    bound_keywords: ClassVar[frozenset[str]] = frozenset({"stream", "ls_structured_output_format"})
    #: What tracers know this kind of model as.
    _ls_model_type: ClassVar[Any]

    model: str | None = None
    """Name of the model. ``model_name`` is taken as well."""
    temperature: float | None = None
    """How random the answer is. Not sent unless set."""
    max_tokens: int | None = None
    """The most tokens to generate, reasoning included. Not sent unless set."""
    stop: list[str] | None = None
    """Texts that end the answer and are not part of it. A single text may be given as it is."""

    # ------------------------------------------------------------------ construction

    @classmethod
    def _argument_names(cls) -> list[str]:
        return [*super()._argument_names(), *cls.argument_aliases]

    @classmethod
    def _with_aliases_resolved(cls, values: dict[str, Any]) -> dict[str, Any]:
        values = dict(values)
        for alias, name in cls.argument_aliases.items():
            if alias in values:
                if name in values:
                    raise ConfigurationError(f"{name} and {alias} are two names for one argument: give one.")
                values[name] = values.pop(alias)
        return values

    @field_validator("stop", mode="before")
    @classmethod
    def _one_stop(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("model")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ConfigurationError("model is blank: give the name of a model.")
        return value

    @model_validator(mode="after")
    def _note_linkspan_version(self) -> Self:
        self._add_version("linkspan", linkspan.__version__)
        return self

    # ------------------------------------------------------------------ what a call may override

    def _either(self, kwargs: Mapping[str, Any], name: str) -> Any:
        value = kwargs.get(name)
        return getattr(self, name) if value is None else value

    def _model_of(self, kwargs: Mapping[str, Any]) -> str | None:
        model: str | None = kwargs.get("model")
        if not model:
            return self.model
        warn_if_retired(self._provider, model)
        return model

    def _stops(self, stop: list[str] | str | None) -> list[str]:
        stop = self.stop if stop is None else stop
        return [stop] if isinstance(stop, str) else list(stop or ())

    def _extra_body(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {**self.extra_body, **as_extra_body(kwargs.get("extra_body"))}

    # ------------------------------------------------------------------ what LangChain wants to know

    @property
    def model_name(self) -> str | None:
        """Another name of ``model``, for middleware that looks for it."""
        return self.model

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """All that changes the answer: part of the cache key."""
        parameters = {name: getattr(self, name) for name in (*self.sampling_parameters, "stop", "extra_body")}
        return {
            "model": self.model,
            "base_url": self._resolved_base_url(),
            **{name: value for name, value in parameters.items() if value not in (None, {}, [])},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        kwargs = {self.argument_aliases.get(name, name): value for name, value in kwargs.items()}
        params = LangSmithParams(ls_provider=self._provider.name, ls_model_type=self._ls_model_type)
        model = kwargs.get("model") or self.model
        if model is not None:
            params["ls_model_name"] = model
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        stops = self._stops(stop)
        if stops:
            params["ls_stop"] = stops
        return params

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether ``langchain_core.load.dumps`` can write this class: yes. ``load`` needs it in ``allowed_objects``."""
        return True

    # ------------------------------------------------------------------ counting tokens, offline

    def get_num_tokens(self, text: str) -> int:
        """Estimate the tokens of a text, or count them with ``custom_get_token_ids``; no network."""
        return count_text_tokens(text, self.custom_get_token_ids)

    def get_token_ids(self, text: str) -> list[int]:
        """Return the ids that ``custom_get_token_ids`` gives.

        Raises:
            NotImplementedError: Without it, there is no tokenizer here; ``get_num_tokens`` estimates.
        """
        if self.custom_get_token_ids is None:
            raise NotImplementedError(
                f"{type(self).__name__} has no tokenizer: give custom_get_token_ids, or estimate with get_num_tokens."
            )
        return self.custom_get_token_ids(text)

    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Estimate the tokens of a conversation and its tools; no network."""
        return count_message_tokens(messages, as_tool_dicts(tools or ()), self.custom_get_token_ids)

    # ------------------------------------------------------------------ copies and connections

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            # Core computes the serialised form once and takes it for the cache key.
            self.__dict__.pop("_serialized", None)

    def __copy__(self) -> Any:
        return self._detached(super().__copy__())

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Any:
        return self._detached(super().__deepcopy__(memo))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, with its own connections, with some fields changed.

        Raises:
            ConfigurationError: If ``update`` names a field that does not exist.
        """
        for name in update or {}:
            if name not in type(self).model_fields:
                raise ConfigurationError(
                    f"{type(self).__name__} has no argument {name!r}.{near_match(name, type(self).model_fields)}"
                )
        return self._detached(super().model_copy(update=update, deep=deep))

    def _detached(self, copy: Self) -> Self:
        copy.__dict__.pop("_serialized", None)
        copy._slot = EndpointSlot()
        return copy

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {k: v for k, v in state["__dict__"].items() if k != "_serialized"}}
