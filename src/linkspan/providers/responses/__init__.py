"""The stateless Responses API, the alternative to Chat Completions. Providers override what differs."""

from linkspan.providers.responses.codec import ResponsesCodec
from linkspan.providers.responses.encode import refused_parameter

__all__ = ["ResponsesCodec", "refused_parameter"]
