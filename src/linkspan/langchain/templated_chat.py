"""What chat models whose API may be asked for a prompt have in common: a chat template, and reasoning in tags."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from linkspan.langchain.chat_model import LinkspanChatModel
from linkspan.prompts import ChatTemplate

if TYPE_CHECKING:
    from langchain_core.load.serializable import SerializedConstructor, SerializedNotImplemented

__all__ = ["TemplatedChatModel"]


class TemplatedChatModel(LinkspanChatModel):
    """The base of such chat models. Not to be used itself."""

    chat_template: ChatTemplate | str | None = None
    """Where the API takes a prompt: a template's name (``linkspan.prompts.chat_templates()``), Jinja text, or a
    ``ChatTemplate``. Default: the one that the model's name leaves no doubt about."""
    split_reasoning: bool = False
    """Take text between ``<think>`` and ``</think>`` at the start of an answer for reasoning."""

    def to_json(self) -> SerializedConstructor | SerializedNotImplemented:
        """Return the serialised form, with a ``ChatTemplate`` written out: core's cache key is made of it, too."""
        written: Any = super().to_json()
        if isinstance(self.chat_template, ChatTemplate) and "kwargs" in written:
            written["kwargs"]["chat_template"] = asdict(self.chat_template)
        return written  # type: ignore[no-any-return]  # a TypedDict, changed in place
