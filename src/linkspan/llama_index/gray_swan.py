"""Gray Swan Cygnet in LlamaIndex."""

from __future__ import annotations

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.settings.gray_swan import GraySwanSettings

__all__ = ["GraySwan"]


class GraySwan(GraySwanSettings, ChatLLM):
    """Gray Swan's Cygnet, a model with a separate role for untrusted text.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.gray_swan import GraySwan
        >>> llm = GraySwan()  # the key comes from GRAYSWAN_API_KEY
        >>> print(llm.complete("What is a linkspan?"))

    Messages with the data marker (``additional_kwargs={"linkspan_role": "data"}``) are sent in the role ``data``, whose
    instructions the model is trained not to follow.

    Only documented fields that are set are sent. ``stop`` is not one: linkspan enforces it, and closes a stream at a
    stop text. Any other parameter raises ``UnsupportedContentError``, unless passed in ``extra_body``. Content is plain
    text: several text blocks are joined by line breaks, images are refused. The API has no JSON mode: structured output
    uses a forced tool call, or prompt and parser with ``pydantic_program_mode="llm"``. It can force a call of one named
    tool only: ``tool_required`` works with a single tool, or with ``any_tool="auto"``, which lets the model decide.
    ``parallel_tool_calls`` is not sent; ``False`` keeps only an answer's first call.

    A blocked answer has ``finish_reason`` ``content_filter`` or ``violation``, or a ``refusal``, in the response's
    ``additional_kwargs``. Streams have no token counts, as far as known.

    Raises:
        ConfigurationError: An unknown or invalid argument, or no key.
    """
