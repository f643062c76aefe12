"""The prompt that is handed to LlamaIndex's own programs for structured output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.prompts.base import BasePromptTemplate, SelectorPromptTemplate
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.base.llms.base import BaseLLM
    from llama_index.core.base.llms.types import ChatMessage

__all__ = ["ProgramPrompt"]


class ProgramPrompt(BasePromptTemplate):  # type: ignore[no-redef]  # a field of core is named kwargs
    """The caller's prompt, so that the caller's own object stays as it is: core's programs put their parser into it.

    It also puts in what core's programs forget.

    Args:
        prompt: The caller's prompt.
        llm: The LLM that the program is for.
        write: Writes the prompt with these arguments as one text, for LLMs whose API takes one.
        extend: Applied to the prompt's messages.
    """

    _prompt: BasePromptTemplate = PrivateAttr()
    _llm: BaseLLM = PrivateAttr()
    _write: Callable[[BasePromptTemplate, dict[str, Any]], str] | None = PrivateAttr()
    _extend: Callable[[list[ChatMessage]], list[ChatMessage]] | None = PrivateAttr()

    def __init__(
        self,
        prompt: BasePromptTemplate,
        llm: BaseLLM,
        *,
        write: Callable[[BasePromptTemplate, dict[str, Any]], str] | None = None,
        extend: Callable[[list[ChatMessage]], list[ChatMessage]] | None = None,
    ) -> None:
        if isinstance(prompt, SelectorPromptTemplate):
            prompt = prompt.select(llm=llm)
        super().__init__(
            metadata=prompt.metadata,
            template_vars=prompt.template_vars,
            kwargs=prompt.kwargs,
            output_parser=prompt.output_parser,
        )
        self._prompt, self._llm, self._write, self._extend = prompt, llm, write, extend

    def partial_format(self, **kwargs: Any) -> ProgramPrompt:
        """Return the prompt with some of its variables filled in."""
        return ProgramPrompt(self._parsed().partial_format(**kwargs), self._llm, write=self._write, extend=self._extend)

    def format(self, llm: BaseLLM | None = None, **kwargs: Any) -> str:
        """Return the prompt as a text."""
        return self._parsed().format(llm, **kwargs) if self._write is None else self._write(self._parsed(), kwargs)

    def format_messages(self, llm: BaseLLM | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Return the prompt as messages."""
        messages = self._parsed().format_messages(llm, **kwargs)
        return messages if self._extend is None else self._extend(messages)

    def get_template(self, llm: BaseLLM | None = None) -> str:
        """Return the text of the template."""
        return self._prompt.get_template(llm)

    def _parsed(self) -> BasePromptTemplate:
        return self._prompt.model_copy(update={"output_parser": self.output_parser})
