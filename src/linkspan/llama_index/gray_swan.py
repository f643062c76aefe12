"""Gray Swan Cygnet in LlamaIndex."""

from __future__ import annotations

from linkspan.llama_index.chat_llm import ChatLLM
from linkspan.settings.gray_swan import GraySwanSettings

__all__ = ["GraySwan"]


class GraySwan(GraySwanSettings, ChatLLM):
    """Gray Swan's Cygnet, the model with a role of its own for untrusted text.

    Install with ``pip install 'linkspan[llama-index]'``.

    Example:
        >>> from llama_index.llms.gray_swan import GraySwan
        >>> llm = GraySwan()  # the key comes from GRAYSWAN_API_KEY
        >>> print(llm.complete("What is a linkspan?"))

    Messages with the data marker (``additional_kwargs={"linkspan_role": "data"}``) travel in the role ``data``, whose
    instructions the model is trained not to follow.

    Nothing that is not set is sent, and only documented fields: ``stop`` is none and is enforced here (a stream is
    closed at a stop text); any other parameter raises ``UnsupportedContentError``, which names it, unless it stands in
    ``extra_body``. Content is plain text: texts of several blocks are joined by line breaks, images are refused. The
    API has no JSON mode: structured output goes through a forced tool call, or by prompt and parser with
    ``pydantic_program_mode="llm"``. It can be made to call one tool, by name: ``tool_required`` works with a single
    tool, among several with ``any_tool="auto"``, which leaves the choice to the model. ``parallel_tool_calls`` is not
    sent: ``False`` keeps an answer's first call.

    A blocked answer has ``finish_reason`` ``content_filter`` or ``violation``, or a ``refusal``, in the response's
    ``additional_kwargs``. Streams carry no token counts, as far as is known.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the key is missing.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "GraySwan"
