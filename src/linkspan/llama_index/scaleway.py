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

    Nothing that is not set is sent, so the API's own defaults apply.

    Args:
        model: Name of the model. The catalogue knows the published ones, and warns (``ModelRetiredWarning``) of those
            at their end of life; any other name is welcome. ``list_models()`` asks the API.
        api_key: The secret key; else ``SCW_SECRET_KEY``, then ``SCALEWAY_API_KEY``.
        base_url: Address of the API up to ``/v1`` (also ``api_base``); else ``SCALEWAY_BASE_URL``, else the public
            service. For a deployment of one's own, its endpoint.
        project_id: Bill this project: part of the public service's address, so not together with ``base_url``.
        temperature: Sampling temperature, 0 to 2.
        max_tokens: Longest answer in tokens, reasoning included.
        top_p: Nucleus sampling, above 0 up to 1.
        stop: One text or several that end the answer and are not part of it.
        seed: Seed of the sampling.
        presence_penalty: Penalty for tokens that occurred, -2 to 2.
        frequency_penalty: Penalty by how often tokens occurred, -2 to 2.
        reasoning_effort: How much a reasoning model thinks, such as ``"low"``; each model has its own words
            (Scaleway reference, section 7).
        context_window: Tokens of prompt and answer together, if the catalogue's number is not right.
        is_function_calling_model: Whether the model takes tools, if the catalogue's word is not right.
        additional_kwargs: Further parameters of the API.
        extra_body: Merged into the body last, as it is.
        default_headers: Sent with every request. Kept out of ``repr`` and ``to_dict``: they may hold a key.
        timeout: Seconds of silence allowed, before an answer and between the events of a stream.
        max_retries: How often a failed attempt is repeated: connection errors, 408, 429 and 5xx.
        http_client: An ``httpx.Client`` to use; it is not closed, and not pickled.
        http_async_client: An ``httpx.AsyncClient`` to use; it is not closed, and not pickled.
        stream_usage: Ask for token counts in streams.
        allow_insecure_http: Allow the key over plain http to a public host.
        data_role: ``"error"`` refuses messages with the data marker, which Scaleway has no role for; ``"fenced"``
            renders them as a marked user turn.

    Raises:
        ConfigurationError: An argument is unknown or wrong, or the key is missing.
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex stores this class."""
        return "Scaleway"
