"""Reasoning in tags parted from the text, for APIs whose server leaves it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linkspan.conversation import PromptRequest
from linkspan.providers.think_tags import THINK_TAGS, ThinkTagDecoder, split_completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from linkspan.conversation import ChatRequest, Completion
    from linkspan.errors import LinkspanError
    from linkspan.providers.codec import Codec, StreamDecoder

__all__ = ["ThinkTagCodec"]


class ThinkTagCodec:
    """A codec whose answers have the text between think tags as reasoning. All else is the inner codec's.

    Where a prompt ends with the opening tag, its answer begins inside the block.

    Args:
        inner: The API's codec.
        tags: What begins and ends reasoning.
    """

    def __init__(self, inner: Codec[Any], tags: tuple[str, str] = THINK_TAGS) -> None:
        self.inner = inner
        self._tags = tags

    @property
    def provider(self) -> str:
        """The API's short name."""
        return self.inner.provider

    def __getattr__(self, name: str) -> Any:
        # Routes beside chat (lists of models) are the inner codec's own business.
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def auth_headers(self, api_key: str) -> Mapping[str, str]:
        """Headers that carry the key."""
        return self.inner.auth_headers(api_key)

    def path(self, request: ChatRequest | PromptRequest, *, stream: bool) -> str:
        """Path below the base URL."""
        return self.inner.path(request, stream=stream)

    def encode(self, request: ChatRequest | PromptRequest, *, stream: bool) -> dict[str, Any]:
        """Write the body."""
        return self.inner.encode(request, stream=stream)

    def decode(self, body: bytes, headers: Mapping[str, str], request: ChatRequest | PromptRequest) -> Completion:
        """Read a whole answer."""
        return split_completion(self.inner.decode(body, headers, request), self._tags, inside=self._inside(request))

    def decode_error(self, status_code: int, headers: Mapping[str, str], body: bytes) -> LinkspanError:
        """Read an error answer, or the wrong kind of answer under status 200."""
        return self.inner.decode_error(status_code, headers, body)

    def event_error(self, data: bytes) -> LinkspanError | None:
        """Return the error that a stream's first event reports, if it does."""
        return self.inner.event_error(data)

    def stream_decoder(self, request: ChatRequest | PromptRequest, headers: Mapping[str, str]) -> StreamDecoder:
        """A new decoder for one stream."""
        return ThinkTagDecoder(self.inner.stream_decoder(request, headers), self._tags, inside=self._inside(request))

    def _inside(self, request: ChatRequest | PromptRequest) -> bool:
        return isinstance(request, PromptRequest) and request.prompt.rstrip().endswith(self._tags[0])
