"""TGI's Messages API: how it differs from Chat Completions in TGI's versions. Containers only.

Source: docs/apis/datacrunch.md#tgi-messages.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Image
from linkspan.errors import UnsupportedContentError
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.chat_completions.stream import ChatStreamDecoder
from linkspan.providers.datacrunch.decode import put_common_words
from linkspan.providers.datacrunch.errors import retyped
from linkspan.providers.datacrunch.grammar import check_grammar, grammar_of, inlined
from linkspan.providers.datacrunch.hints import USE_OPENAI
from linkspan.providers.datacrunch.parameter_apis import refuse_foreign
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.filters.first_call import wanted_calls_decoder
from linkspan.providers.filters.stops import StoppingDecoder, cut_at_stops
from linkspan.providers.idle_demands import without_idle_demands

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from linkspan.conversation import ChatRequest, Completion, Delta
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import StreamDecoder

__all__ = ["DataCrunchChatCodec"]

_DIALECT = Dialect(
    provider=DATACRUNCH.name,
    title=f"TGI's Messages API ({DATACRUNCH.title})",
    # TGI accepts content parts in every role (router/src/lib.rs: MessageContent).
    tool_parts=(Image,),
    reasoning_field=None,
    text_beside_calls=False,
)

#: Placeholder name for the server's only model.
_ANY_MODEL = "tgi"

#: Parameters that TGI accepts but ignores or misinterprets, with the error's advice.
_MISLEADING = {
    "logit_bias": "TGI ignores it. Leave it out",
    "presence_penalty": "TGI turns it into a repetition penalty of the value plus 2. Use frequency_penalty, or pass "
    "it in extra_body if you want that",
}


def _named(model: str | None) -> str | None:
    """Return a model's name; ``None`` for the placeholder, which a server may echo."""
    return None if model == _ANY_MODEL else model


class _TGIStreamDecoder(ChatStreamDecoder):
    __slots__ = ()

    def close(self) -> Sequence[Delta]:
        """Process the end of the stream; see the base class."""
        deltas = super().close()
        for delta in deltas:
            delta.model = _named(delta.model)
            put_common_words(delta)
        return deltas


class DataCrunchChatCodec(ChatCompletionsCodec):
    """Codec of TGI's chat route.

    Without a model, ``"tgi"`` is sent, which means the server's own (TGI takes other names for LoRA adapters). Stop
    texts, which TGI leaves in its answers, are cut off. A response format, or the parameter ``grammar``, is sent as
    TGI's grammar, which cannot be combined with tools.
    """

    #: Route of the model list; TGI 2.3 or newer.
    models_path = "v1/models"

    def __init__(self) -> None:
        super().__init__(_DIALECT)

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # as in the base class
        """Return the route below the container's root."""
        return "v1/chat/completions"

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            UnsupportedContentError: TGI would refuse, ignore or misinterpret something.
        """
        parameters = without_idle_demands(request.parameters)
        for name, why in _MISLEADING.items():
            if name in parameters:
                raise self._unsupported(f"{name} does not work on TGI's chat route: {why}. {USE_OPENAI}")
        if parameters.get("n", 1) != 1:
            raise self._unsupported(
                f"n={parameters['n']!r}: TGI gives one answer per call. Call several times. {USE_OPENAI}"
            )
        refuse_foreign("messages", parameters, UnsupportedContentError)
        grammar = parameters.pop("grammar", None)
        if grammar is not None:
            grammar = check_grammar(grammar)
        elif request.response_format is not None:
            grammar = grammar_of(request.response_format)
        if grammar is not None and request.tools:
            raise self._unsupported(f"TGI takes a response format or tools, not both. Leave one out. {USE_OPENAI}")
        tools = [replace(tool, parameters=inlined(tool.parameters)) for tool in request.tools]
        plain = replace(
            request, model=request.model or _ANY_MODEL, parameters=parameters, tools=tools, response_format=None
        )
        body = super().encode(plain, stream=stream)
        if grammar is not None:
            body.setdefault("response_format", grammar)
        return body

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer, cut before the request's stop texts."""
        completion = super().decode(body, headers, request)
        completion.model = _named(completion.model)
        put_common_words(completion)
        return cut_at_stops(completion, request.stop, server_stops=True)

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream, cut before the request's stop texts."""
        decoder = self.chat_decoder(request, headers, of=_TGIStreamDecoder)
        stopping = StoppingDecoder(decoder, request.stop, server_stops=True) if request.stop else decoder
        return wanted_calls_decoder(stopping, request)

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Classify TGI's errors as on its other routes."""
        return retyped(error)

    def _unsupported(self, why: str) -> UnsupportedContentError:
        return UnsupportedContentError(f"{self.provider}: {why}", provider=self.provider)
