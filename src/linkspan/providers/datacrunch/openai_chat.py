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

if TYPE_CHECKING:
    from linkspan.conversation import ChatRequest
    from linkspan.errors import LinkspanError

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
        parameters = refuse_foreign(
            "openai", request.parameters, UnsupportedContentError, has_tools=bool(request.tools)
        )
        origin = "mistral" if self._short_call_ids else request.model_origin
        body = super().encode(replace(request, parameters=parameters, model_origin=origin), stream=stream)
        for message in body["messages"]:
            # vLLM reads "reasoning" since 0.12; SGLang, llama.cpp and older vLLM read "reasoning_content".
            if "reasoning_content" in message:
                message["reasoning"] = message["reasoning_content"]
        return body

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add hints to unclear errors of the server."""
        return hint_for_openai(error)
