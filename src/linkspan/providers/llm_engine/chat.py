"""Chat on LLM Engine's v2 API: what differs from the Chat Completions dialect (docs/apis/llm_engine.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Audio, File, Image, Video
from linkspan.errors import ConfigurationError, ServerError
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.filters.forced_call import ForcedCallDecoder, answer_of_call, as_forced_call, wants_schema
from linkspan.providers.llm_engine.errors import decode_error_answer, explain
from linkspan.providers.llm_engine.models import ENDPOINTS_PATH, decode_endpoints
from linkspan.providers.llm_engine.prompt_fields import GUIDES, check_one_guide, refuse_guides
from linkspan.providers.llm_engine.provider import LLM_ENGINE, Auth, auth_headers, check_auth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, Completion
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import StreamDecoder
    from linkspan.providers.llm_engine.models import LLMEngineModel

__all__ = ["CHAT_FIELDS", "LLMEngineChatCodec"]

#: The fields of a v2 chat request besides model, messages, tools, response format, stop and streaming.
CHAT_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "n",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "length_penalty",
    "logit_bias",
    "use_beam_search",
    "best_of",
    "early_stopping",
    "max_tokens",
    "max_completion_tokens",
    "min_tokens",
    "stop_token_ids",
    "include_stop_str_in_output",
    "ignore_eos",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    *GUIDES,
    "guided_decoding_backend",
    "guided_whitespace_pattern",
    "skip_special_tokens",
    "spaces_between_special_tokens",
    "echo",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "documents",
    "chat_template",
    "chat_template_kwargs",
    "reasoning_effort",
    "user",
    "modalities",
    "metadata",
    "store",
    "priority",
)

#: What the gateway's 500 may mean on the way to a chat model.
_HIDDEN = (
    "A streamed chat call hides behind this what the model's server refused, such as too long a prompt; the same call "
    "without streaming says it."
)

_DIALECT = Dialect(
    provider=LLM_ENGINE.name,
    title=LLM_ENGINE.title,
    user_parts=(Image, Audio),
    hints=(
        (File, "Send its text, or images of its pages."),
        (Video, "Send frames as images."),
    ),
)


class LLMEngineChatCodec(ChatCompletionsCodec):
    """Chat with vLLM and SGLang endpoints on v2.

    The gateway garbles ``response_format: json_schema``. So a JSON schema travels as a tool that must be called, which
    vLLM itself holds the model to; or as ``guided_json``, which vLLM ignores without a word since 0.12.

    Args:
        auth: How the key is sent: ``"basic"`` (with ``x-api-key``) or ``"bearer"``.
        guided_decoding: Whether the endpoint obeys ``guided_json`` and its kin.

    Raises:
        ConfigurationError: ``auth`` is something else.
    """

    #: The route of the list of models.
    models_path = ENDPOINTS_PATH

    def __init__(self, auth: Auth = "basic", *, guided_decoding: bool = False) -> None:
        check_auth(auth)
        super().__init__(_DIALECT)
        self.auth = auth
        self.guided_decoding = guided_decoding

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """The key, in the chosen way."""
        return auth_headers(api_key, self.auth)

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # the body says it
        """The route below the base URL."""
        return "v2/chat/completions"

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            ConfigurationError: There is no model.
            InvalidRequestError: Two guided fields, a schema among them.
            UnsupportedContentError: A role or part that this API cannot carry, a guided field that the endpoint
                ignores, or tools beside a schema that travels as one.
        """
        if not request.model:
            raise ConfigurationError(
                f"{LLM_ENGINE.title} needs model: the name of the endpoint to ask.", provider=LLM_ENGINE.name
            )
        if not self.guided_decoding:
            refuse_guides(request.parameters)
            return super().encode(as_forced_call(request, LLM_ENGINE.title), stream=stream)
        wanted = request.response_format
        if wanted is not None and wanted.kind == "json_schema":
            guide = {"guided_json": dict(wanted.schema or {})}
            _check_guides(request.parameters, guide)
            request = replace(request, response_format=None, parameters={**request.parameters, **guide})
        check_one_guide(request.parameters)
        return super().encode(request, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Read a whole answer."""
        completion = super().decode(body, headers, request)
        return answer_of_call(completion, request) if self._forces_call(request) else completion

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """A new decoder for one stream."""
        decoder = super().stream_decoder(request, headers)
        return ForcedCallDecoder(decoder, request) if self._forces_call(request) else decoder

    def _forces_call(self, request: ChatRequest) -> bool:
        return not self.guided_decoding and wants_schema(request)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Decode an error answer, or the wrong kind of answer under status 200."""
        if status_code >= 400:
            return _explain_hidden(decode_error_answer(status_code, headers, body))
        return super().decode_error(status_code, headers, body)

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> list[LLMEngineModel]:  # type: ignore[override]  # each is a ListedModel
        """Decode the list of models."""
        return decode_endpoints(body, headers)

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Say what the gateway's answers mean where its words do not."""
        return explain(error)


def _explain_hidden(error: LinkspanError) -> LinkspanError:
    hides = isinstance(error, ServerError) and "Internal error occurred" in error.message
    return error.with_hint(_HIDDEN if hides else None)


def _check_guides(parameters: Mapping[str, Any], guide: Mapping[str, Any]) -> None:
    """Refuse a schema beside a guided field of the caller's own, also beside another ``guided_json``."""
    others = {name: value for name, value in parameters.items() if name in GUIDES}
    if others.get("guided_json") is not None:
        raise ConfigurationError(
            "A response format with a schema is sent as guided_json, which is set as well: give one of them.",
            provider=LLM_ENGINE.name,
        )
    check_one_guide({**others, **guide})
