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

    Args:
        model: Name of the model; ``"cygnet"`` is the latest one, and any other name is welcome.
        api_key: The key; else ``GRAYSWAN_API_KEY``.
        base_url: Address of the API (also ``api_base``); else ``GRAY_SWAN_BASE_URL``, else the public service.
        path: The route below it, ``"chat/completion"``. The public one may have been retired.
        temperature: Sampling temperature.
        max_tokens: Longest answer in tokens.
        top_p: Nucleus sampling.
        frequency_penalty: Penalty by how often tokens occurred.
        n: How many answers to make; LlamaIndex shows the first, the others' texts are in
            ``additional_kwargs["alternatives"]``.
        moderate_before: By its name, to screen the input before an answer is made; undocumented beyond that.
        stop: One text or several that end the answer and are not part of it.
        raise_on_block: Raise ``ContentBlockedError`` for a blocked answer, also at the end of a stream.
        any_tool: What becomes of a demand to call any of several tools: ``"error"``, or ``"auto"``.
        speaker_names: What becomes of ``additional_kwargs["name"]`` of a user's message: ``"error"``, or ``"text"``,
            which writes it before the text.
        tool_results: ``"data"`` sends what tools return as untrusted text.
        context_window: Tokens of prompt and answer together. Unpublished; 8192 is assumed.
        is_function_calling_model: Whether the model takes tools: yes unless said otherwise.
        additional_kwargs: Further documented parameters.
        extra_body: Merged into the body last, as it is.
        default_headers: Sent with every request. Kept out of ``repr`` and ``to_dict``: they may hold a key.
        timeout: Seconds of silence allowed, before an answer and between the events of a stream; 60 unless set.
        max_retries: How often a failed attempt is repeated: connection errors, 408, 429 and 5xx.
        http_client: An ``httpx.Client`` to use; it is not closed, and not pickled.
        http_async_client: An ``httpx.AsyncClient`` to use; it is not closed, and not pickled.
        allow_insecure_http: Allow the key over plain http to a public host.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the key is missing.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "GraySwan"
