"""TGI's ``generate`` and ``generate_stream``, on DataCrunch's legacy route, on containers and on any TGI server.

Source: docs/apis/datacrunch.md, for all versions of TGI since 0.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.errors import InvalidRequestError
from linkspan.providers.chat_completions.codec import OpenAICodec
from linkspan.providers.datacrunch.decode import decode_generated
from linkspan.providers.datacrunch.errors import retyped, tgi_error_in
from linkspan.providers.datacrunch.parameters import encode_parameters
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.datacrunch.stream import TGIStreamDecoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import Completion, PromptRequest
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import StreamDecoder

__all__ = ["TGICodec"]


class TGICodec(OpenAICodec):
    """``Codec[PromptRequest]`` of TGI's own API; one base URL serves both routes.

    ``PromptRequest.model`` is sent if set: the legacy route needs it, TGI ignores it. ``parameters`` may be any of
    :data:`~linkspan.providers.datacrunch.parameters.PARAMETERS`.

    Answers: ``finish_reason`` is ``length`` or ``stop``. ``extra["tgi_finish_reason"]`` tells ``eos_token`` from
    ``stop_sequence``; the latter also marks answers cut here because the server ran past a stop text. ``logprobs`` has
    one entry per generated token, including special ones, with ``top`` if ``top_n_tokens`` was set. ``extra`` holds
    ``generated_tokens``, ``seed``, ``prefill``, ``best_of_sequences``, ``top_tokens`` and ``input_length`` as the
    server sent them. All of these need ``details``, which is requested unless the parameter is ``False``.
    """

    #: Route of the model list; containers only, TGI 2.3 or newer.
    models_path = "v1/models"

    def __init__(self) -> None:
        super().__init__(DATACRUNCH.name)

    def path(self, request: PromptRequest, *, stream: bool) -> str:  # noqa: ARG002  # other APIs need both
        """Return the route below the base URL."""
        return "generate_stream" if stream else "generate"

    def encode(self, request: PromptRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            InvalidRequestError: The prompt is empty, or every TGI server refuses a value.
            UnsupportedContentError: TGI does not know a parameter.
        """
        if not request.prompt:
            raise InvalidRequestError(
                f"{self.provider}: the prompt is empty, and TGI refuses that. Give it at least one character.",
                provider=self.provider,
            )
        body: dict[str, Any] = {}
        if request.model:
            body["model"] = request.model
        body["inputs"] = request.prompt
        body["parameters"] = encode_parameters(request, stream=stream)
        body.update({key: value for key, value in request.extra_body.items() if key != "parameters"})
        return body

    def decode(self, body: bytes, headers: Mapping[str, str], request: PromptRequest) -> Completion:
        """Decode a whole answer."""
        return decode_generated(body, headers, request)

    def stream_decoder(self, request: PromptRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        return TGIStreamDecoder(request, headers)

    def reported_error(self, parsed: Any, headers: Mapping[str, str]) -> LinkspanError | None:
        """Return the error that a parsed body or event with status 200 reports, if any."""
        return tgi_error_in(parsed, headers)

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Classify TGI's errors, and add hints."""
        return retyped(error)
