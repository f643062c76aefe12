"""Chat on LLM Engine's v2 API: differences from the Chat Completions dialect (docs/apis/llm_engine.md)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Audio, File, Image, Video
from linkspan.errors import ConfigurationError, ServerError
from linkspan.providers.chat_completions import ChatCompletionsCodec, Dialect
from linkspan.providers.llm_engine.errors import decode_error_answer, explain
from linkspan.providers.llm_engine.models import ENDPOINTS_PATH, decode_endpoints
from linkspan.providers.llm_engine.prompt_fields import check_one_guide, refuse_guides
from linkspan.providers.llm_engine.provider import LLM_ENGINE, Auth, auth_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest
    from linkspan.errors import LinkspanError
    from linkspan.providers.llm_engine.models import LLMEngineModel

__all__ = ["LLMEngineChatCodec"]

#: Hint for the gateway's 500 to a streamed chat call.
_HIDDEN = (
    "For streamed calls, this may hide a refusal by the model's server, such as a prompt that is too long. The same "
    "call without streaming reports it."
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
    """Codec of v2 chat for vLLM and SGLang endpoints.

    The gateway corrupts ``response_format: json_schema``. A JSON schema is therefore sent as a required tool, which
    vLLM enforces (``ForcedCallCodec`` wraps this codec), or as ``guided_json``, which vLLM ignores silently since 0.12.

    Args:
        auth: How the key is sent: ``"basic"`` (with ``x-api-key``) or ``"bearer"``.
        guided_decoding: Whether the endpoint obeys the ``guided_*`` fields.
    """

    #: Route of the model list.
    models_path = ENDPOINTS_PATH

    def __init__(self, auth: Auth = "basic", *, guided_decoding: bool = False) -> None:
        super().__init__(_DIALECT)
        self.auth = auth
        self.guided_decoding = guided_decoding

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Return the headers that carry the key."""
        return auth_headers(api_key, self.auth)

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # the body says it
        """Return the route below the base URL."""
        return "v2/chat/completions"

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body.

        Raises:
            ConfigurationError: There is no model.
            InvalidRequestError: A schema is combined with a guided field.
            UnsupportedContentError: This API cannot carry a role or part, or the endpoint ignores a guided field.
        """
        if not request.model:
            raise ConfigurationError(
                f"{LLM_ENGINE.title} needs model: the name of the endpoint to ask.", provider=LLM_ENGINE.name
            )
        if not self.guided_decoding:
            refuse_guides(request.parameters)
            return super().encode(request, stream=stream)
        wanted = request.response_format
        if wanted is not None and wanted.kind == "json_schema":
            if request.parameters.get("guided_json") is not None:
                raise ConfigurationError(
                    "A response format with a schema is sent as guided_json, which is also set: set only one of them.",
                    provider=LLM_ENGINE.name,
                )
            parameters = {**request.parameters, "guided_json": dict(wanted.schema or {})}
            request = replace(request, response_format=None, parameters=parameters)
        check_one_guide(request.parameters)
        return super().encode(request, stream=stream)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Decode an error answer, or an unexpected kind of answer with status 200."""
        if status_code >= 400:
            return _explain_hidden(decode_error_answer(status_code, headers, body))
        return super().decode_error(status_code, headers, body)

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> list[LLMEngineModel]:  # type: ignore[override]  # each is a ListedModel
        """Decode the list of models."""
        return decode_endpoints(body, headers)

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Explain the gateway's unclear errors."""
        return explain(error)


def _explain_hidden(error: LinkspanError) -> LinkspanError:
    hides = isinstance(error, ServerError) and "Internal error occurred" in error.message
    return error.with_hint(_HIDDEN if hides else None)
