"""The codec of the Chat Completions dialect; providers override their differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

from linkspan.providers.chat_completions.decode import decode_chat, error_in
from linkspan.providers.chat_completions.encode import encode_request
from linkspan.providers.chat_completions.models import MODELS_PATH, decode_models
from linkspan.providers.chat_completions.stream import ChatStreamDecoder, requested_choices
from linkspan.providers.error_bodies import make_error, read_error_body, wrong_kind_of_answer
from linkspan.providers.filters.first_call import keep_wanted_calls, wanted_calls_decoder
from linkspan.providers.tool_names import ToolNames

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, Completion
    from linkspan.errors import LinkspanError
    from linkspan.providers.chat_completions.encode import Dialect
    from linkspan.providers.chat_completions.models import ListedModel
    from linkspan.providers.codec import StreamDecoder

__all__ = ["ChatCompletionsCodec", "OpenAICodec"]


class OpenAICodec:
    """Base of codecs for OpenAI-compatible servers: the key, the list of models, and errors on any route."""

    #: The route of the list of models.
    models_path = MODELS_PATH

    def __init__(self, provider: str) -> None:
        self.provider = provider

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """A bearer token."""
        return {"Authorization": f"Bearer {api_key}"}

    def decode_models(self, body: bytes, headers: Mapping[str, str]) -> list[ListedModel]:
        """Decode the list of models."""
        return decode_models(body, headers, self.provider)

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Decode an error answer, or the wrong kind of answer under status 200."""
        if status_code >= 400:
            return self.explain(
                make_error(self.provider, read_error_body(body), status_code=status_code, headers=headers)
            )
        error = self.reported_error(_parsed(body), headers)
        if error is not None:
            return error
        return wrong_kind_of_answer(self.provider, body, status_code=status_code, headers=headers)

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error in a stream's first event, if it is one."""
        if b'"error"' not in data and b'"detail"' not in data and b'"message"' not in data:
            return None
        return self.reported_error(_parsed(data), {})

    def reported_error(self, parsed: Any, headers: Mapping[str, str]) -> LinkspanError | None:
        """Return the error that a parsed body or event under status 200 reports, if any."""
        return error_in(parsed, self.provider, headers, self.explain)

    def explain(self, error: LinkspanError) -> LinkspanError:
        """Add hints for this API to an error: its meaning here, and what to do."""
        return error


def _parsed(content: bytes) -> Any:
    """Return parsed JSON; ``None`` for anything else."""
    try:
        return from_json(content)
    except ValueError:
        return None


class ChatCompletionsCodec(OpenAICodec):
    """Encodes and decodes Chat Completions of one API."""

    def __init__(self, dialect: Dialect) -> None:
        super().__init__(dialect.provider)
        self.dialect = dialect

    def path(self, request: ChatRequest, *, stream: bool) -> str:  # noqa: ARG002  # other APIs need both
        """The route, relative to the base URL."""
        return "chat/completions"

    def encode(self, request: ChatRequest, *, stream: bool) -> dict[str, Any]:
        """Encode the body."""
        return encode_request(request, self.dialect, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest) -> Completion:
        """Decode a whole answer."""
        completion = decode_chat(body, headers, self.provider, request.messages, self.explain)
        return keep_wanted_calls(ToolNames(request).in_answer(completion), request)

    def stream_decoder(self, request: ChatRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """Create the decoder of one stream."""
        return wanted_calls_decoder(self.chat_decoder(request, headers, choices=requested_choices(request)), request)

    def chat_decoder(
        self,
        request: ChatRequest,
        headers: Mapping[str, str],
        *,
        choices: int = 1,
        of: type[ChatStreamDecoder] = ChatStreamDecoder,
    ) -> ChatStreamDecoder:
        """Create the innermost decoder of one stream, without filters."""
        return of(
            self.provider,
            headers,
            choices=choices,
            names=ToolNames(request),
            conversation=request.messages,
            explain=self.explain,
        )
