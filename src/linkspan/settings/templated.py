"""Settings of chat classes that use a prompt API with a chat template."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from linkspan.connection import Connected
from linkspan.errors import ConfigurationError
from linkspan.prompts import ChatTemplate, chat_templates, find_template

__all__ = ["TemplateSettings"]


class TemplateSettings(Connected):
    """How to turn conversations into prompts, and find reasoning in answers."""

    connection_fields: ClassVar[frozenset[str]] = frozenset({"chat_template", "model", "split_reasoning"})

    chat_template: ChatTemplate | str | None = Field(
        default=None,
        description="Chat template for APIs that take a prompt: a template's name "
        "(`linkspan.prompts.chat_templates()`), Jinja text, or a `ChatTemplate`. Default: the model's "
        "own, if its name identifies one.",
    )
    split_reasoning: bool = Field(
        default=False,
        description="Treat text between `<think>` and `</think>` at the start of an answer as reasoning.",
    )

    def _required_template(self, model: str | None, api: str, otherwise: str = "") -> ChatTemplate:
        """Return the template that was set, or the model's own.

        ``api`` names the API in the error, and ``otherwise`` is a further way out.

        Raises:
            ConfigurationError: The template is unknown.
        """
        template = find_template(self.chat_template, model)
        if template is None:
            raise ConfigurationError(
                f"{api} takes prompts, and the chat template of {model!r} is unknown: set chat_template to one of "
                f"{', '.join(chat_templates())}, or the model's own as Jinja text{otherwise}.",
                provider=self._provider.name,
            )
        return template
