"""TGI's ``generate`` and ``generate_stream``, on DataCrunch's legacy route, on containers and on any TGI server.

Source: docs/apis/datacrunch.md, for all versions of TGI since 0.9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from linkspan.errors import InvalidRequestError
from linkspan.providers.chat_completions.models import decode_models
from linkspan.providers.datacrunch.decode import decode_generated
from linkspan.providers.datacrunch.errors import tgi_error, tgi_error_in
from linkspan.providers.datacrunch.parameters import encode_parameters
from linkspan.providers.datacrunch.provider import DATACRUNCH
from linkspan.providers.datacrunch.stream import TGIStreamDecoder
from linkspan.providers.error_bodies import read_error_body, wrong_kind_of_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import Completion, PromptRequest
    from linkspan.errors import LinkspanError
    from linkspan.providers.chat_completions.models import ListedModel
    from linkspan.providers.codec import StreamDecoder

__all__ = ["TGICodec"]


class TGICodec:
    """``Codec[PromptRequest]`` of TGI's own API; one base URL serves both routes.

    ``PromptRequest.model`` is sent if set: the legacy route needs it, TGI ignores it. ``parameters`` may be any of
    :data:`~linkspan.providers.datacrunch.parameters.PARAMETERS`.

    Answers: ``finish_reason`` is ``length`` or ``stop``. ``extra["tgi_finish_reason"]`` tells ``eos_token`` from
    ``stop_sequence``; the latter also marks answers cut here because the server ran past a stop text. ``logprobs`` has
    one entry per generated token, including special ones, with ``top`` if ``top_n_tokens`` was set. ``extra`` holds
    ``generated_tokens``, ``seed``, ``prefill``, ``best_of_sequences``, ``top_tokens`` and ``input_length`` as the
    server sent them. All of these need ``details``, which is requested unless the parameter is ``False``.

    Args:
        provider: The API's short name, for errors.
    """

    #: Route of the model list; containers only, TGI 2.3 or newer.
    models_path = "v1/models"

    def __init__(self, provider: str = DATACRUNCH.name) -> None:
        self._provider = provider

    @property
    def provider(self) -> str:
        """The API's short name."""
        return self._provider

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """A bearer token."""
        return {"Authorization": f"Bearer {api_key}"}

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
                f"{self._provider}: the prompt is empty, and TGI refuses that. Give it at least one character.",
                provider=self._provider,
            )
        body: dict[str, Any] = {}
        if request.model:
            body["model"] = request.model
        body["inputs"] = request.prompt
        body["parameters"] = encode_parameters(request, self._provider, stream=stream)
        body.update({key: value for key, value in request.extra_body.items() if key != "parameters"})
        return body

    def decode(self, body: bytes, headers: Mapping[str, str], request: PromptRequest) -> Completion:
        """Decode a whole answer."""
        return decode_generated(body, headers, request, self._provider)

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> list[ListedModel]:
        """Decode the list of models."""
        return decode_models(body, headers, self._provider)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Decode an error answer, or an unexpected kind of answer with status 200."""
        if status_code >= 400:
            return tgi_error(self._provider, read_error_body(body), status_code, headers)
        try:
            parsed = from_json(body)
        except ValueError:
            parsed = None
        error = tgi_error_in(parsed, self._provider, headers)
        if error is not None:
            return error
        return wrong_kind_of_answer(self._provider, body, status_code=status_code, headers=headers)

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error in a stream's first event, if it is one."""
        if b'"token"' in data:
            return None
        try:
            parsed = from_json(data)
        except ValueError:
            return None
        return tgi_error_in(parsed, self._provider, {})

    def stream_decoder(self, request: PromptRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        return TGIStreamDecoder(self._provider, request, headers)
