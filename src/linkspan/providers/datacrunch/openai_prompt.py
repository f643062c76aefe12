"""Prompts for vLLM, SGLang and other OpenAI-compatible servers: ``/v1/completions``.

Sources: ``CompletionRequest`` and ``CompletionResponse`` of vLLM and SGLang; llama.cpp's server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import Completion, Delta, TokenLogprob
from linkspan.errors import InvalidRequestError, UnsupportedContentError
from linkspan.providers.chat_completions.codec import OpenAICodec
from linkspan.providers.chat_completions.decode import (
    decode_answer,
    decode_logprobs,
    unknown_fields,
)
from linkspan.providers.chat_completions.stream import ChatStreamDecoder
from linkspan.providers.datacrunch.hints import hint_for_openai
from linkspan.providers.datacrunch.parameter_apis import refuse_foreign
from linkspan.providers.datacrunch.parameters import DEFAULT_MAX_NEW_TOKENS
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.wire import (
    as_list,
    as_name,
    as_number,
    as_object,
    as_text,
    wrong_type,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import PromptRequest
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import StreamDecoder

__all__ = ["OpenAIPromptCodec"]

_KNOWN_CHOICE = frozenset({"index", "text", "logprobs", "finish_reason"})


class OpenAIPromptCodec(OpenAICodec):
    """``Codec[PromptRequest]`` of the OpenAI completions dialect, below a server's root.

    ``max_tokens`` is always sent, because servers default to 16. ``logprobs`` may be the API's number of alternatives,
    or ``True`` with ``top_logprobs`` as in chat. The parameter ``json_schema`` is sent as a response format. Other
    parameters are sent by their names.
    """

    #: Route of the model list.
    models_path = "v1/models"

    def __init__(self) -> None:
        super().__init__(DATACRUNCH.name)

    def path(self, request: PromptRequest, *, stream: bool) -> str:  # noqa: ARG002  # other APIs need both
        """Return the route below the server's root."""
        return "v1/completions"

    def encode(self, request: PromptRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            InvalidRequestError: The prompt is empty.
            UnsupportedContentError: A parameter is TGI's, or a stream requests several answers.
        """
        if not request.prompt:
            raise InvalidRequestError(
                f"{self.provider}: the prompt is empty, and servers refuse that. Give it at least one character.",
                provider=self.provider,
            )
        body: dict[str, Any] = {}
        if request.model is not None:
            body["model"] = request.model
        body["prompt"] = request.prompt
        body["max_tokens"] = DEFAULT_MAX_NEW_TOKENS
        body.update(_parameters(request))
        if request.stop:
            body["stop"] = list(request.stop)
        if stream:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        body.update(request.extra_body)
        if stream and (body.get("n") or 1) != 1:
            raise UnsupportedContentError(
                f"{self.provider}: n={body['n']} cannot be streamed: call without streaming.", provider=self.provider
            )
        return body

    def decode(self, body: bytes, headers: Mapping[str, str], request: PromptRequest) -> Completion:  # noqa: ARG002  # other APIs need it
        """Decode a whole answer.

        Raises:
            InvalidResponseError: It is not a completion.
            ServerError: By its finish reason, the server aborted the answer.
            LinkspanError: The answer is an error with status 200.
        """
        return decode_answer(body, headers, self.provider, _read_choice, what="completion", explain=self.explain)

    def stream_decoder(self, request: PromptRequest, headers: Mapping[str, str]) -> StreamDecoder:  # noqa: ARG002  # other APIs need it
        """Create the decoder of one stream."""
        return _PromptStreamDecoder(self.provider, headers, explain=self.explain)

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add hints to unclear errors of the server."""
        return hint_for_openai(error)


def _parameters(request: PromptRequest) -> dict[str, Any]:
    """Return the parameters by the API's names."""
    given = refuse_foreign("openai", request.parameters, UnsupportedContentError)
    top = given.pop("top_logprobs", None)
    if given.get("logprobs") is True:
        # For some servers, 0 requests nothing at all.
        given["logprobs"] = top or 1
    schema = given.pop("json_schema", None)
    if schema is not None:
        given["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    return given


def _read_choice(choice: Any) -> Completion:
    fields = as_object(choice, "a choice")
    if "text" not in fields:
        raise wrong_type(choice, "a choice", "an object with a text")
    return Completion(
        text=as_text(fields["text"], "text"),
        finish_reason=as_name(fields.get("finish_reason"), "finish_reason"),
        logprobs=_read_logprobs(fields.get("logprobs")),
        extra=unknown_fields(fields, _KNOWN_CHOICE),
    )


def _read_logprobs(logprobs: Any) -> list[TokenLogprob] | None:
    """Read log probabilities: parallel lists, or (llama.cpp) a ``content`` list as in chat."""
    if not logprobs:
        return None
    fields = as_object(logprobs, "logprobs")
    if "content" in fields:
        return decode_logprobs(fields)
    tokens = as_list(fields.get("tokens"), "logprobs.tokens")
    values = as_list(fields.get("token_logprobs"), "logprobs.token_logprobs")
    tops = as_list(fields.get("top_logprobs"), "logprobs.top_logprobs")
    return [
        TokenLogprob(
            as_text(token, "a token"),
            as_number(values[place] if place < len(values) else None, "a log probability"),
            top=_read_top(tops[place] if place < len(tops) else None),
        )
        for place, token in enumerate(tokens)
    ] or None


def _read_top(top: Any) -> list[TokenLogprob] | tuple[()]:
    """Read the most likely tokens at one position."""
    likeliest = as_object(top, "top_logprobs") if top else {}
    return [TokenLogprob(token, as_number(value, "a log probability")) for token, value in likeliest.items()] or ()


class _PromptStreamDecoder(ChatStreamDecoder):
    """Decodes one stream, as in chat, except that each choice holds its text directly."""

    _piece_field = "text"

    __slots__ = ()

    def _take_choice(self, choice: Any) -> Delta | None:
        index = self._store_choice(choice, _KNOWN_CHOICE)
        text = choice.get("text") or ""
        if text.__class__ is not str:
            text = as_text(text, "text")
        scores = _read_logprobs(choice.get("logprobs"))
        return Delta(text, self._id, logprobs=scores, choice=index) if text or scores else None
