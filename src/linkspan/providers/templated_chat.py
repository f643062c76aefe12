"""Chat over a prompt API: a codec for conversations, built from a codec for prompts and a chat template."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import PromptRequest
from linkspan.errors import LinkspanError, UnsupportedContentError
from linkspan.providers.codec import WrappedCodec
from linkspan.providers.data_role import carry_data
from linkspan.providers.filters.thinking import THINK_TAG, ThinkTagDecoder, split_completion
from linkspan.turns import join_first_system_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from linkspan.conversation import ChatRequest, Completion, ResponseFormat
    from linkspan.prompts import ChatTemplate
    from linkspan.providers.codec import Codec, StreamDecoder

    #: Converts a response format to parameters of a prompt API.
    Structured: TypeAlias = Callable[[ResponseFormat], Mapping[str, Any]]

__all__ = ["TemplatedChatCodec"]

#: Parameters of prompt APIs that would add other text to the answer.
_NOT_FOR_CHAT = {
    "echo": "would repeat the prompt in the answer",
    "include_stop_str_in_output": "would leave the template's end of turn in the answer",
    "return_full_text": "would repeat the prompt in the answer",
}


class TemplatedChatCodec(WrappedCodec[PromptRequest]):
    """``Codec[ChatRequest]`` over a ``Codec[PromptRequest]``: a chat template renders the conversation.

    The template's stop texts are sent after the user's, up to the API's limit. The inner codec cuts its answers at all
    of them. Everything else of an answer (finish reason, usage, log probabilities, extra) comes from the inner codec.

    Args:
        inner: The API's codec for prompts.
        template: Renders a conversation as a prompt.
        title: The API's display name, for errors.
        split_reasoning: Separate reasoning between think tags from the text. If the template opens the block in the
            prompt, the answer starts inside.
        structured: Converts a response format to parameters of the API (``guided_json``, ``grammar``); ``None`` if it
            has none.
        max_stops: Most stop texts that the API accepts; ``None`` for any number.
    """

    def __init__(
        self,
        inner: Codec[PromptRequest],
        template: ChatTemplate,
        *,
        title: str,
        split_reasoning: bool = False,
        structured: Structured | None = None,
        max_stops: int | None = None,
    ) -> None:
        super().__init__(inner)
        self.template = template
        self._title = title
        self._split_reasoning = split_reasoning
        self._structured = structured
        self._max_stops = max_stops
        self._inside = split_reasoning and template.opens(THINK_TAG)

    def path(self, request: ChatRequest, *, stream: bool) -> str:
        """Path relative to the base URL; it does not depend on the conversation."""
        return self.inner.path(self._unrendered(request), stream=stream)

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            UnsupportedContentError: The request has tools, an unsupported part or role, a special token in a message,
                an unsupported order of messages, or a response format that the API cannot enforce.
        """
        return self.inner.encode(self.prompt_request(request), stream=stream)

    def prompt_request(self, request: ChatRequest) -> PromptRequest:
        """Convert a chat request to a request for the prompt API.

        Raises:
            UnsupportedContentError: See :meth:`encode`.
        """
        self._refuse_tools(request)
        prompt_request = self._unrendered(request)
        prompt_request.parameters = self._parameters(request)
        if self._max_stops is not None:
            room = max(self._max_stops, len(request.stop))  # the inner codec checks the user's own
            prompt_request.stop = prompt_request.stop[:room]
        try:
            messages = carry_data(request, has_role="data" in self.template.roles)
            prompt_request.prompt = self.template.render(
                join_first_system_turns(messages), send_reasoning=request.send_reasoning
            )
        except LinkspanError as error:
            raise self._titled(error) from error.__cause__
        return prompt_request

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer."""
        completion = self.inner.decode(body, headers, self._unrendered(request))
        return split_completion(completion, inside=self._inside) if self._split_reasoning else completion

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        decoder = self.inner.stream_decoder(self._unrendered(request), headers)
        return ThinkTagDecoder(decoder, inside=self._inside) if self._split_reasoning else decoder

    # ------------------------------------------------------------------ helpers

    def _unrendered(self, request: ChatRequest) -> PromptRequest:
        """Return the request for decoding an answer: without the prompt, with every stop text."""
        return PromptRequest(
            model=request.model,
            prompt="",
            parameters=request.parameters,
            stop=list(dict.fromkeys((*request.stop, *self.template.stop))),
            extra_body=request.extra_body,
            extra_headers=request.extra_headers,
        )

    def _parameters(self, request: ChatRequest) -> dict[str, Any]:
        parameters = dict(request.parameters)
        for name, effect in _NOT_FOR_CHAT.items():
            if parameters.get(name):
                raise self._unsupported(f"{name} {effect}. Leave it out, or use the class for prompts.")
        wanted = request.response_format
        if wanted is None or wanted.kind == "text":
            return parameters
        if self._structured is None:
            raise self._unsupported(
                f"response_format {wanted.kind!r} cannot be enforced here. Ask for the format in the prompt and check "
                "the answer, or use a chat API."
            )
        for name, value in self._structured(wanted).items():
            if parameters.get(name) is not None:
                raise self._unsupported(
                    f"response_format and {name} both say what the answer must look like. Give one."
                )
            parameters[name] = value
        return parameters

    def _refuse_tools(self, request: ChatRequest) -> None:
        if request.tools or request.tool_choice not in (None, "none"):
            raise self._unsupported(
                "tools cannot be called through a prompt: the API has no place for calls in its answers. Use a chat "
                "API of the same server, or an agent that works with plain text (ReAct)."
            )

    def _unsupported(self, why: str) -> UnsupportedContentError:
        return UnsupportedContentError(f"{self._title}, chat by template: {why}", provider=self.provider)

    def _titled(self, error: LinkspanError) -> LinkspanError:
        error.provider = error.provider or self.provider
        error.args = (f"{self._title}: {error.message}", *error.args[1:])
        return error
