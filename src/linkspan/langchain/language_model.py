"""The base of chat and completion models for LangChain: settings, tracing, token counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from langchain_core.language_models import BaseLanguageModel, LangSmithParams
from langchain_core.messages import BaseMessage
from pydantic import model_validator

import linkspan
from linkspan.langchain.component import LangChainComponent
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.token_counting import count_message_tokens, count_text_tokens
from linkspan.langchain.tools import as_tool_dicts
from linkspan.options import ModelSettings

if TYPE_CHECKING:
    from typing_extensions import Self

    _LanguageModel = BaseLanguageModel[Any]
else:
    # What the brackets make is one more pydantic class, between core's and this one.
    _LanguageModel = BaseLanguageModel

__all__ = ["LinkspanLanguageModel"]


class LinkspanLanguageModel(ModelSettings, LangChainComponent, _LanguageModel):
    """Abstract base of the language models.

    Per-call keywords (``invoke(..., temperature=0)``, ``bind(...)``) beat the object's fields; ``None`` drops the
    object's value for this call. An unknown keyword is taken for a parameter of the API and sent under its own name,
    unless it is a near miss of a known one.
    """

    #: Keywords that LangChain itself binds, or a method here, are never part of the body as they are.
    call_keywords: ClassVar[frozenset[str]] = ModelSettings.call_keywords | {"stream", "ls_structured_output_format"}
    #: What tracers know this kind of model as.
    _ls_model_type: ClassVar[Any]

    @model_validator(mode="after")
    def _add_linkspan_version(self) -> Self:
        self._add_version("linkspan", linkspan.__version__)
        return self

    # ------------------------------------------------------------------ what LangChain queries

    @property
    def model_name(self) -> str | None:
        """Another name of ``model``; without one that of the server, for counters, middleware and evaluators."""
        return self._label()

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """All that changes the answer: part of the cache key."""
        parameters = {name: getattr(self, name) for name in (*self.parameter_fields, "stop", "extra_body")}
        return {
            "model": self.model,
            "base_url": self._endpoint().base_url,
            **{name: value for name, value in parameters.items() if value not in (None, {}, [])},
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        kwargs = {self.argument_aliases.get(name, name): value for name, value in kwargs.items()}
        params = LangSmithParams(ls_provider=self._provider.name, ls_model_type=self._ls_model_type)
        model = self._label(kwargs.get("model"))
        if model is not None:
            params["ls_model_name"] = model
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        stops = self.stop if stop is None else stop
        if stops:
            params["ls_stop"] = list(stops) if isinstance(stops, (list, tuple)) else [stops]
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

    @converted_errors()
    def get_num_tokens_from_messages(self, messages: list[BaseMessage], tools: Sequence[Any] | None = None) -> int:
        """Estimate the tokens of a conversation and its tools; no network."""
        return count_message_tokens(messages, as_tool_dicts(tools), self.custom_get_token_ids)
