"""Chat templates: write a conversation as the one prompt that a model was trained on."""

from __future__ import annotations

from linkspan.prompts.template import ChatTemplate, SpecialTokens, chat_templates, find_template, guess_template

__all__ = ["ChatTemplate", "SpecialTokens", "chat_templates", "find_template", "guess_template"]
