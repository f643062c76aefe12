"""The Chat Completions dialect that several APIs share. Each provider states only how it differs."""

from linkspan.providers.chat_completions.codec import ChatCompletionsCodec
from linkspan.providers.chat_completions.encode import Dialect

__all__ = ["ChatCompletionsCodec", "Dialect"]
