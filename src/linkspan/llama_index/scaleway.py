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

    Uses Chat Completions, or the Responses API: with ``api="responses"``, and by default for calls with tools to
    gpt-oss-120b, which calls tools only there.

    Only what is set is sent; otherwise the API's defaults apply.

    Raises:
        ConfigurationError: An unknown or invalid argument, or no key.
    """
