"""Inputs of completion models: refuse unsupported conversations, extend the cache key, bound batches."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseLLM
from langchain_core.messages import AIMessage, ChatMessage, FunctionMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from linkspan.errors import UnsupportedContentError
from linkspan.fields import by_field_name
from linkspan.langchain.errors import converted_errors
from linkspan.langchain.language_model import LinkspanLanguageModel

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from langchain_core.language_models import LanguageModelInput
    from langchain_core.messages import BaseMessage
    from langchain_core.outputs import LLMResult
    from langchain_core.prompt_values import PromptValue
    from langchain_core.runnables import RunnableConfig

__all__ = ["CompletionInputs"]

#: The options of the current call, for the cache key: core builds it from the instance's settings alone.
_call_options: ContextVar[Mapping[str, Any]] = ContextVar("linkspan_call_options")


class CompletionInputs(LinkspanLanguageModel, BaseLLM):
    """Abstract base: the methods of core that take prompts and conversations, one or many."""

    max_concurrency: int = Field(default=8, ge=1, description="Most concurrent requests of one `generate` or `batch`.")

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, **_call_options.get({})}

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        with converted_errors():
            return self._checked(super()._convert_input(model_input))

    def generate_prompt(self, prompts: list[PromptValue], *args: Any, **kwargs: Any) -> LLMResult:
        """Send all prompts; see langchain-core.

        Raises:
            UnsupportedContentError: A conversation has untrusted text, or parts that core would drop.
        """
        with converted_errors():
            prompts = [self._checked(prompt) for prompt in prompts]
        return super().generate_prompt(prompts, *args, **kwargs)

    async def agenerate_prompt(self, prompts: list[PromptValue], *args: Any, **kwargs: Any) -> LLMResult:
        """Send all prompts; see ``generate_prompt``."""
        with converted_errors():
            prompts = [self._checked(prompt) for prompt in prompts]
        return await super().agenerate_prompt(prompts, *args, **kwargs)

    def _checked(self, prompt: PromptValue) -> PromptValue:
        """Refuse a conversation with untrusted text, which core would not mark, or with parts that core would drop."""
        for place, message in enumerate(prompt.messages if isinstance(prompt, ChatPromptValue) else ()):
            what = _not_for_a_prompt(message)
            if what is not None:
                raise UnsupportedContentError(
                    f"{type(self).__name__} takes a prompt, but message {place} {what}. Use the chat class of "
                    "this API.",
                    provider=self._provider.name,
                )
        return prompt

    def generate(self, prompts: list[str], stop: list[str] | str | None = None, *args: Any, **kwargs: Any) -> LLMResult:
        """Send all prompts; see langchain-core. Calls with different options have different cache keys."""
        stop, kwargs = self._one_word_each(stop, kwargs)
        with self._options_in_key(kwargs):
            return super().generate(prompts, stop, *args, **kwargs)

    async def agenerate(
        self, prompts: list[str], stop: list[str] | str | None = None, *args: Any, **kwargs: Any
    ) -> LLMResult:
        """Send all prompts; see langchain-core. Calls with different options have different cache keys."""
        stop, kwargs = self._one_word_each(stop, kwargs)
        with self._options_in_key(kwargs):
            return await super().agenerate(prompts, stop, *args, **kwargs)

    def _one_word_each(
        self, stop: list[str] | str | None, kwargs: dict[str, Any]
    ) -> tuple[list[str] | None, dict[str, Any]]:
        """Resolve aliases, so that the cache key of a call does not depend on the names of its options."""
        with converted_errors():
            own = {} if stop is None else {"stop": stop}
            kwargs = by_field_name(type(self), {**kwargs, **own})
        stop = kwargs.pop("stop", None)
        return [stop] if isinstance(stop, str) else stop, kwargs

    @contextmanager
    def _options_in_key(self, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Add the options of this call that change its answer to ``_identifying_params``."""
        aside = _CORE_ARGUMENTS | self.call_keywords
        options = {name: value for name, value in kwargs.items() if name not in aside}
        token = _call_options.set({"call": sorted(options.items())} if options else {})
        try:
            yield
        finally:
            _call_options.reset(token)

    # ------------------------------------------------------------------ several inputs

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Send all inputs, at most ``max_concurrency`` (of the config, else of the model) at a time.

        With ``return_exceptions`` the list has the error of each input that failed and the answers of the others.
        """
        if return_exceptions and len(inputs) > 1:
            # Core would replace every answer by the first error.
            return Runnable.batch(self, inputs, self._bounded(config, inputs), return_exceptions=True, **kwargs)
        return super().batch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[str]:
        """Send all inputs; see ``batch``."""
        if return_exceptions and len(inputs) > 1:
            return await Runnable.abatch(self, inputs, self._bounded(config, inputs), return_exceptions=True, **kwargs)
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    def _bounded(
        self, config: RunnableConfig | list[RunnableConfig] | None, inputs: list[LanguageModelInput]
    ) -> list[RunnableConfig]:
        configs = get_config_list(config, len(inputs))
        return [{**one, "max_concurrency": one.get("max_concurrency") or self.max_concurrency} for one in configs]


def _not_for_a_prompt(message: BaseMessage) -> str | None:
    """Return why a message cannot become part of a prompt, or ``None``."""
    if isinstance(message, ChatMessage) and message.role == "data":
        return "is untrusted text (role data), which a prompt cannot mark"
    if isinstance(message, AIMessage) and message.invalid_tool_calls:
        return "has invalid_tool_calls, which a prompt does not repeat"
    if message.name and not isinstance(message, (AIMessage, ToolMessage, FunctionMessage)):
        return f"has a name ({message.name!r}), which a prompt does not write: put it into the text"
    not_repeated = _NOT_REPEATED if isinstance(message, AIMessage) else ()
    for block in message.content if isinstance(message.content, list) else ():
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind != "text" and kind not in not_repeated:
            return f"has a block of type {kind!r}"
    return None


#: Blocks of an earlier answer that are not repeated.
_NOT_REPEATED = frozenset({"reasoning", "thinking"})

#: Core's own arguments of ``generate``.
_CORE_ARGUMENTS = frozenset({"callbacks", "tags", "metadata", "run_name", "run_id", "timeout"})
