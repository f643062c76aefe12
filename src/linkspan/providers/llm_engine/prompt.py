"""Prompts on LLM Engine's v1 API (docs/apis/llm_engine.md#prompts-v1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pydantic_core import from_json

from linkspan.conversation import Completion
from linkspan.errors import ConfigurationError, InvalidResponseError
from linkspan.providers.chat_completions.decode import unknown_fields
from linkspan.providers.error_bodies import request_id_of, wrong_kind_of_answer
from linkspan.providers.filters.stops import StoppingDecoder, cut_at_stops
from linkspan.providers.llm_engine.errors import decode_error_answer, reported_error
from linkspan.providers.llm_engine.models import ENDPOINTS_PATH, decode_endpoints
from linkspan.providers.llm_engine.prompt_fields import answer_limit, prompt_parameters, stops_to_cut_at
from linkspan.providers.llm_engine.prompt_stream import (
    KNOWN_FIELDS,
    KNOWN_OUTPUT,
    PromptStreamDecoder,
    finish_reason_at_limit,
    read_token,
    read_usage,
)
from linkspan.providers.llm_engine.provider import LLM_ENGINE, Auth, Framework, auth_headers
from linkspan.providers.wire import as_list, as_name, parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import PromptRequest
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import StreamDecoder
    from linkspan.providers.llm_engine.models import LLMEngineModel

__all__ = ["LLMEnginePromptCodec"]

_NAME = LLM_ENGINE.name


class LLMEnginePromptCodec:
    """Codec of v1: a prompt in, text out.

    Completions have no ``model``, because the API sends none. It sends no finish reason either: ``"length"`` means that
    the server counted as many tokens as the limit, ``"stop"`` that linkspan cut the answer at a stop text, and ``None``
    neither. ``logprobs`` needs ``return_token_log_probs``. ``usage`` holds what the server counted; it sends 0 for what
    it did not.

    Args:
        auth: How the key is sent: ``"basic"`` (with ``x-api-key``) or ``"bearer"``.
        inference_framework: Inference framework of the endpoint. For all but ``"tensorrt_llm"``, a stream that ends
            without ``finished: true`` raises ``InterruptedStreamError``.
        guided_decoding: Whether the endpoint obeys the ``guided_*`` fields.
    """

    #: Route of the model list.
    models_path = ENDPOINTS_PATH

    def __init__(
        self, auth: Auth = "basic", *, inference_framework: Framework | None = None, guided_decoding: bool = False
    ) -> None:
        self.auth = auth
        self.guided_decoding = guided_decoding
        self.inference_framework = inference_framework

    @property
    def provider(self) -> str:
        """The API's short name."""
        return _NAME

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        return auth_headers(api_key, self.auth)

    def path(self, request: PromptRequest, *, stream: bool) -> str:
        """Return the route, with the model's name in the query.

        Raises:
            ConfigurationError: There is no model.
        """
        if not request.model:
            raise ConfigurationError(
                f"{LLM_ENGINE.title} needs model: the name of the endpoint to ask.", provider=_NAME
            )
        route = "completions-stream" if stream else "completions-sync"
        return f"v1/llm/{route}?model_endpoint_name={quote(request.model, safe='')}"

    def encode(self, request: PromptRequest, *, stream: bool) -> dict[str, Any]:  # noqa: ARG002  # one body for both
        """Encode the body: ``prompt``, ``max_new_tokens`` and ``temperature`` always, everything else only if set.

        Raises:
            UnsupportedContentError: v1 does not have a parameter, or the endpoint ignores a guided field.
            InvalidRequestError: Every framework behind LLM Engine refuses a value.
        """
        parameters = prompt_parameters(request, guided_decoding=self.guided_decoding)
        return {"prompt": request.prompt, **parameters, **request.extra_body}

    def decode(self, body: bytes, headers: Mapping[str, str], request: PromptRequest) -> Completion:
        """Decode a whole answer, cut before its first stop text, even if the framework (LightLLM) ignores stop texts.

        Raises:
            InvalidResponseError: It is not a completion.
        """
        parsed = parse_json(body, _NAME)
        output = parsed.get("output") if isinstance(parsed, dict) else None
        if not isinstance(output, dict) or not isinstance(output.get("text"), str):
            raise _no_answer(parsed, headers)
        tokens = as_list(output.get("tokens"), "output.tokens")
        usage = read_usage(output.get("num_prompt_tokens"), output.get("num_completion_tokens"))
        completion = Completion(
            text=output["text"],
            finish_reason=finish_reason_at_limit(usage, answer_limit(request)),
            usage=usage,
            logprobs=[read_token(token) for token in tokens] or None,
            request_id=as_name(parsed.get("request_id"), "request_id") or request_id_of(headers),
            extra={**unknown_fields(parsed, KNOWN_FIELDS), **unknown_fields(output, KNOWN_OUTPUT)},
            raw=parsed,
        )
        return cut_at_stops(completion, stops_to_cut_at(request))

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> list[LLMEngineModel]:
        """Decode the list of models."""
        return decode_endpoints(body, headers)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Decode an error answer, or an unexpected kind of answer with status 200."""
        if status_code >= 400:
            return decode_error_answer(status_code, headers, body)
        error = self.event_error(body)
        if error is not None:
            return error
        return wrong_kind_of_answer(_NAME, body, status_code=status_code, headers=headers)

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error in a stream's first event, if it is one."""
        try:
            parsed = from_json(data)
        except ValueError:
            return None
        return reported_error(parsed, {})

    def stream_decoder(self, request: PromptRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream, cut before its first stop text."""
        decoder = PromptStreamDecoder(
            headers, limit=answer_limit(request), ends_unsaid=self.inference_framework == "tensorrt_llm"
        )
        stops = stops_to_cut_at(request)
        return StoppingDecoder(decoder, stops) if stops else decoder


def _no_answer(parsed: Any, headers: Mapping[str, str]) -> LinkspanError:
    error = reported_error(parsed, headers)
    if error is not None:
        return error
    request_id = as_name(parsed.get("request_id"), "request_id") if isinstance(parsed, dict) else None
    keys = ", ".join(parsed) if isinstance(parsed, dict) else type(parsed).__name__
    return InvalidResponseError(
        f"{_NAME}: the answer is not a completion: output.text is missing (it holds: {keys or 'nothing'}).",
        provider=_NAME,
        request_id=request_id or request_id_of(headers),
    )
