"""Chat with vLLM, SGLang and other OpenAI-compatible servers: differences from the Chat Completions dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Audio, File, Image, Video
from linkspan.errors import UnsupportedContentError
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.datacrunch.hints import hint_for_openai
from linkspan.providers.datacrunch.parameter_apis import refuse_foreign
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.filters.first_call import FirstCallDecoder, keep_first_call, wants_one_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, Completion
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import StreamDecoder

__all__ = ["OpenAIChatCodec"]

_DIALECT = Dialect(
    provider=DATACRUNCH.name,
    title=f"The OpenAI API of {DATACRUNCH.title}",
    user_parts=(Image, Audio, Video),
    tool_parts=(Image,),
    hints=((File, "Send its text, or images of its pages."),),
)


class OpenAIChatCodec(ChatCompletionsCodec):
    """Codec of the Chat Completions of vLLM, SGLang and llama.cpp, below a server's root.

    ``parallel_tool_calls=False`` is sent with tools, and enforced if the server ignores it: all calls but the first are
    dropped.

    Args:
        short_call_ids: Send tool call ids as nine letters and digits, even if no name shows that the model is
            Mistral's.
    """

    #: Route of the model list.
    models_path = "v1/models"

    def __init__(self, *, short_call_ids: bool = False) -> None:
        super().__init__(_DIALECT)
        self._short_call_ids = short_call_ids

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # as in the base class
        """Return the route below the server's root."""
        return "v1/chat/completions"

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            UnsupportedContentError: A parameter is TGI's, or this API cannot carry a role or part.
        """
        parameters = refuse_foreign("openai", request.parameters, UnsupportedContentError)
        parallel = request.parameters.get("parallel_tool_calls")
        if request.tools and parallel is not None:
            parameters["parallel_tool_calls"] = parallel
        origin = "mistral" if self._short_call_ids else request.model_origin
        body = super().encode(replace(request, parameters=parameters, model_origin=origin), stream=stream)
        for message in body["messages"]:
            # vLLM reads "reasoning" since 0.12; SGLang, llama.cpp and older vLLM read "reasoning_content".
            if "reasoning_content" in message:
                message["reasoning"] = message["reasoning_content"]
        return body

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer."""
        completion = super().decode(body, headers, request)
        return keep_first_call(completion) if wants_one_call(request) else completion

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        decoder = super().stream_decoder(request, headers)
        return FirstCallDecoder(decoder) if wants_one_call(request) else decoder

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add hints to unclear errors of the server."""
        return hint_for_openai(error)
