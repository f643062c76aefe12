"""Scaleway Generative APIs in LlamaIndex."""

from __future__ import annotations

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.settings.scaleway import ScalewayChatSettings

__all__ = ["Scaleway"]


class Scaleway(ScalewayChatSettings, ChatLLM):
    """A chat model of Scaleway's Generative APIs, or of a Managed Inference deployment.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.scaleway import Scaleway
        >>> llm = Scaleway(model="llama-3.3-70b-instruct")  # the key comes from SCW_SECRET_KEY
        >>> print(llm.complete("What is a linkspan?"))

    Over Chat Completions, or the Responses API: with ``api="responses"``, and by itself for calls with tools to
    gpt-oss-120b, which has its tools there alone.

    Nothing that is not set is sent, so the API's own defaults apply.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the key is missing.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "Scaleway"
