"""The codec of the Responses API; providers override what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.assembler import Assembler
from linkspan.errors import InvalidResponseError
from linkspan.providers.chat_completions.codec import OpenAICodec
from linkspan.providers.error_bodies import request_id_of
from linkspan.providers.filters.first_call import keep_wanted_calls, wanted_calls_decoder
from linkspan.providers.filters.stops import StoppingDecoder, cut_at_stops
from linkspan.providers.responses.encode import encode_response_request, output_limit
from linkspan.providers.responses.stream import ResponsesDecoder
from linkspan.providers.tool_names import ToolNames
from linkspan.providers.wire import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, Completion
    from linkspan.providers.chat_completions import Dialect
    from linkspan.providers.codec import StreamDecoder

__all__ = ["ResponsesCodec"]


class ResponsesCodec(OpenAICodec):
    """Encodes and decodes Responses without state on the server. Enforces stop texts, which the API lacks.

    Args:
        dialect: What the API carries. Only ``provider``, ``title``, ``roles``, ``user_parts`` (images only), ``hints``
            and ``check_part`` are read.
    """

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect.provider)
        self.dialect = dialect

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # other APIs need both
        """Return the route below the base URL."""
        return "responses"

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body."""
        return encode_response_request(request, self.dialect, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer.

        Raises:
            InvalidResponseError: It is not a response.
            LinkspanError: The answer is an error with status 200.
        """
        parsed = parse_json(body, self.provider)
        error = self.reported_error(parsed, headers)
        if error is not None:
            raise error
        if not isinstance(parsed, dict) or not isinstance(parsed.get("output"), list):
            keys = ", ".join(parsed) if isinstance(parsed, dict) else type(parsed).__name__
            raise InvalidResponseError(
                f"{self.provider}: the answer is not a response: output is missing (it holds: {keys or 'nothing'}).",
                provider=self.provider,
                request_id=request_id_of(headers),
            )
        decoder = self._decoder(request, headers)
        assembler = Assembler()
        for delta in (*decoder.end_with(parsed, "completed"), *decoder.close()):
            assembler.add(delta)
        completion = assembler.completion()
        completion.raw = parsed
        return cut_at_stops(keep_wanted_calls(completion, request), request.stop)

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream, cut at the request's stop texts."""
        decoder = self._decoder(request, headers)
        return wanted_calls_decoder(StoppingDecoder(decoder, request.stop) if request.stop else decoder, request)

    def _decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> ResponsesDecoder:
        return ResponsesDecoder(
            self.provider,
            headers,
            names=ToolNames(request),
            conversation=request.messages,
            limit=output_limit(request),
            explain=self.explain,
        )
