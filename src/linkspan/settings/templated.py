"""The settings of classes whose API takes a prompt, and which write conversations by a chat template."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from linkspan.connection import Connected
from linkspan.prompts import ChatTemplate  # noqa: TC001  # pydantic reads the annotations at run time

__all__ = ["TemplateSettings"]


class TemplateSettings(Connected):
    """How conversations are written, and how reasoning is found in answers."""

    connection_fields: ClassVar[frozenset[str]] = frozenset({"chat_template", "model", "split_reasoning"})

    chat_template: ChatTemplate | str | None = Field(
        default=None,
        description="How conversations are written where the API takes a prompt: a template's name "
        "(`linkspan.prompts.chat_templates()`), Jinja text, or a `ChatTemplate`. Default: the one that the model's "
        "name leaves no doubt about.",
    )
    split_reasoning: bool = Field(
        default=False,
        description="Take text between `<think>` and `</think>` at the start of an answer for reasoning.",
    )
