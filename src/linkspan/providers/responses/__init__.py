"""The Responses API, stateless: the dialect beside Chat Completions. Providers say what differs."""

from linkspan.providers.responses.codec import ResponsesCodec
from linkspan.providers.responses.encode import refused_parameter

__all__ = ["ResponsesCodec", "refused_parameter"]
