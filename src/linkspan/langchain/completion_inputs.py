"""What a completion model does with its input before a request: refuse conversations, key the cache, bound batches."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.language_models import BaseLLM
from langchain_core.messages import ChatMessage
from langchain_core.prompt_values import ChatPromptValue
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import get_config_list
from pydantic import Field

from linkspan.errors import UnsupportedContentError
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

    max_concurrency: int = Field(
        default=8, ge=1, description="The most prompts of one `generate` or `batch` that are asked at once."
    )

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {**super()._identifying_params, **_call_options.get({})}

    def _convert_input(self, model_input: LanguageModelInput) -> PromptValue:
        with converted_errors():
            return self._checked(super()._convert_input(model_input))

    def generate_prompt(self, prompts: list[PromptValue], *args: Any, **kwargs: Any) -> LLMResult:
        """Ask all prompts; see langchain-core.

        Raises:
            UnsupportedContentError: A conversation holds what core would leave out of a text, or untrusted text.
        """
        with converted_errors():
            prompts = [self._checked(prompt) for prompt in prompts]
        return super().generate_prompt(prompts, *args, **kwargs)

    async def agenerate_prompt(self, prompts: list[PromptValue], *args: Any, **kwargs: Any) -> LLMResult:
        """Ask all prompts; see ``generate_prompt``."""
        with converted_errors():
            prompts = [self._checked(prompt) for prompt in prompts]
        return await super().agenerate_prompt(prompts, *args, **kwargs)

    def _checked(self, prompt: PromptValue) -> PromptValue:
        """Refuse a conversation of which core would write untrusted text like any other, or leave parts out."""
        for place, message in enumerate(prompt.messages if isinstance(prompt, ChatPromptValue) else ()):
            what = _not_for_a_prompt(message)
            if what is not None:
                raise UnsupportedContentError(
                    f"{type(self).__name__} takes a prompt: message {place} {what}. Use the chat class of this API.",
                    provider=self._provider.name,
                )
        return prompt

    def generate(self, prompts: list[str], stop: list[str] | str | None = None, *args: Any, **kwargs: Any) -> LLMResult:
        """Ask all prompts; see langchain-core. The cache tells calls with different options apart."""
        stop, kwargs = self._one_word_each(stop, kwargs)
        with self._options_in_key(kwargs):
            return super().generate(prompts, stop, *args, **kwargs)

    async def agenerate(
        self, prompts: list[str], stop: list[str] | str | None = None, *args: Any, **kwargs: Any
    ) -> LLMResult:
        """Ask all prompts; see langchain-core. The cache tells calls with different options apart."""
        stop, kwargs = self._one_word_each(stop, kwargs)
        with self._options_in_key(kwargs):
            return await super().agenerate(prompts, stop, *args, **kwargs)

    def _one_word_each(
        self, stop: list[str] | str | None, kwargs: dict[str, Any]
    ) -> tuple[list[str] | None, dict[str, Any]]:
        """Return a call's options under one name each, so that the cache knows them by whichever name they came."""
        with converted_errors():
            own = {} if stop is None else {"stop": stop}
            kwargs = self._with_aliases_resolved({**kwargs, **own})
        stop = kwargs.pop("stop", None)
        return [stop] if isinstance(stop, str) else stop, kwargs

    @contextmanager
    def _options_in_key(self, kwargs: Mapping[str, Any]) -> Iterator[None]:
        """Let ``_identifying_params`` show the options of this call that change its answer."""
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
        """Ask all inputs at once, at most ``max_concurrency`` (of the config, else of the model) at a time.

        With ``return_exceptions`` an input that fails has its error in the list, and the others their answers.
        """
        if return_exceptions and len(inputs) > 1:
            # Core would put the first error in the place of every answer.
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
        """Ask all inputs at once; see ``batch``."""
        if return_exceptions and len(inputs) > 1:
            return await Runnable.abatch(self, inputs, self._bounded(config, inputs), return_exceptions=True, **kwargs)
        return await super().abatch(inputs, config, return_exceptions=return_exceptions, **kwargs)

    def _bounded(
        self, config: RunnableConfig | list[RunnableConfig] | None, inputs: list[LanguageModelInput]
    ) -> list[RunnableConfig]:
        configs = get_config_list(config, len(inputs))
        return [{**one, "max_concurrency": one.get("max_concurrency") or self.max_concurrency} for one in configs]


def _not_for_a_prompt(message: BaseMessage) -> str | None:
    """Return what of a message core would not write into a text as it has to be, ``None`` if there is nothing."""
    if isinstance(message, ChatMessage) and message.role == "data":
        return "is untrusted text (role data), which a prompt would mix with your own words"
    for block in message.content if isinstance(message.content, list) else ():
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind not in _WRITTEN_BLOCKS:
            return f"holds a block of type {kind!r}"
    return None


#: Blocks that core writes into a text, and those of an earlier answer that no prompt repeats.
_WRITTEN_BLOCKS = frozenset({"text", "reasoning", "thinking"})

#: Arguments of ``generate`` that are core's own.
_CORE_ARGUMENTS = frozenset({"callbacks", "tags", "metadata", "run_name", "run_id", "timeout"})
