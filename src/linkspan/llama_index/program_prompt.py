"""A prompt that describes the required schema of the answer in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.prompts.base import BasePromptTemplate, SelectorPromptTemplate
from pydantic import PrivateAttr

if TYPE_CHECKING:
    from collections.abc import Callable

    from llama_index.core.base.llms.base import BaseLLM
    from llama_index.core.base.llms.types import ChatMessage
    from llama_index.core.types import BaseOutputParser

__all__ = ["ProgramPrompt"]


class ProgramPrompt(BasePromptTemplate):  # type: ignore[no-redef]  # a field of core is named kwargs
    """The caller's prompt with a parser's instructions. The caller's own object does not change.

    ``write`` formats the prompt as one text, for prompt APIs.
    """

    _prompt: BasePromptTemplate = PrivateAttr()
    _llm: BaseLLM = PrivateAttr()
    _write: Callable[[BasePromptTemplate, dict[str, Any]], str] | None = PrivateAttr()

    def __init__(
        self,
        prompt: BasePromptTemplate,
        llm: BaseLLM,
        parser: BaseOutputParser | None,
        *,
        write: Callable[[BasePromptTemplate, dict[str, Any]], str] | None = None,
    ) -> None:
        if isinstance(prompt, SelectorPromptTemplate):
            prompt = prompt.select(llm=llm)
        super().__init__(
            metadata=prompt.metadata,
            template_vars=prompt.template_vars,
            kwargs=prompt.kwargs,
            output_parser=parser,
        )
        self._prompt, self._llm, self._write = prompt, llm, write

    def partial_format(self, **kwargs: Any) -> ProgramPrompt:
        """Return the prompt with some variables set."""
        return ProgramPrompt(self._parsed().partial_format(**kwargs), self._llm, self.output_parser, write=self._write)

    def format(self, llm: BaseLLM | None = None, **kwargs: Any) -> str:
        """Return the prompt as a text."""
        return self._parsed().format(llm, **kwargs) if self._write is None else self._write(self._parsed(), kwargs)

    def format_messages(self, llm: BaseLLM | None = None, **kwargs: Any) -> list[ChatMessage]:
        """Return the prompt as messages."""
        return self._parsed().format_messages(llm, **kwargs)

    def get_template(self, llm: BaseLLM | None = None) -> str:
        """Return the text of the template."""
        return self._prompt.get_template(llm)

    def _parsed(self) -> BasePromptTemplate:
        return self._prompt.model_copy(update={"output_parser": self.output_parser})
