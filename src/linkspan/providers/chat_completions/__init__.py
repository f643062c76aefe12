"""The Chat Completions dialect, which several APIs share. Each provider only defines its differences."""

from linkspan.providers.chat_completions.codec import ChatCompletionsCodec
from linkspan.providers.chat_completions.encode import Dialect

__all__ = ["ChatCompletionsCodec", "Dialect"]
