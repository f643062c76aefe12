"""Chat for models behind an API that takes one prompt: a conversation written as the model was trained to read it."""

from __future__ import annotations

from linkspan.prompts.template import ChatTemplate, SpecialTokens, chat_templates, find_template, guess_template

__all__ = ["ChatTemplate", "SpecialTokens", "chat_templates", "find_template", "guess_template"]
