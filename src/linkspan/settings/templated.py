"""Settings of chat classes that use a prompt API with a chat template."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from linkspan.connection import Connected
from linkspan.prompts import ChatTemplate  # noqa: TC001  # pydantic reads the annotations at run time

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
